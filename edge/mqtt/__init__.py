"""One connection to a broker: what is sent, what is asked, and Home Assistant."""

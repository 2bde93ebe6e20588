"""What crosses the network: payloads, topics, and the documents made from them."""

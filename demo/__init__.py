"""The whole product in minutes: synthetic photos in, sightings over real MQTT out."""

"""The one door to Kafka's client.

clients    makes every client, with what all of them have in common
consumer   Kafka to records, from positions of our own
producer   records to Kafka, with what became of each
topic      what the brokers say of our topic: its identity, where its partitions begin and end
growth     which records of partitions that the topic gained may be read yet
admin      what a cluster reports about itself
lag        how old the first record is that is not yet stored
errors     Kafka's errors as ours
"""

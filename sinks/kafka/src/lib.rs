//! events to a Kafka topic.

//! events to the Splunk HTTP Event Collector.

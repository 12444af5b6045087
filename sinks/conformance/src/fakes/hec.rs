//! A fake Splunk HTTP Event Collector.

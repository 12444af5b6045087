//! A fake syslog receiver.

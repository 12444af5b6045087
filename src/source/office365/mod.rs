//! Office 365 Management Activity API.
pub mod window;

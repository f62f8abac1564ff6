//! A page's text to a sample.

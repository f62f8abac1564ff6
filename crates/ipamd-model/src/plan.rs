//! The machine used as a calculator.

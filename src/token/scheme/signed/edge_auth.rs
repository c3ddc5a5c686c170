//! Akamai's EdgeAuth tokens 2.0.

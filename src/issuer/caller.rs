//! Who asks the issuer: a bearer checked against the configured key sets.

//! Signatures and tokens of Google Media CDN.

//! Common Access Tokens (CTA-5007).

//! URI signing for CDN interconnection (RFC 9246).

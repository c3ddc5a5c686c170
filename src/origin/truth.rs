//! What an HTTP origin may answer to what it was asked: partial content, lengths, framing. Pure.

//! A file as frames: page-cached reads at once, others on the blocking pool.

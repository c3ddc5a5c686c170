//! Bunny's token authentication, in its three generations.

//! Records as they stand in the file.

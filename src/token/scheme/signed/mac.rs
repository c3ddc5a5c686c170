//! The engine of MAC templates: links whose MAC is over a written pattern.

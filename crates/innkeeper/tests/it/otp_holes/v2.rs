//! The holes of an agent around a dynamic supervisor and a registry.

//! What a worker does with an object.

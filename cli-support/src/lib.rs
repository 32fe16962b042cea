//! The code that the three command lines share.
//!
//! | noun | module |
//! |---|---|
//! | text files, in the encodings that editors and shells write | [`text`] |

pub mod text;

//! The code that the three command lines share.
//!
//! | noun | module |
//! |---|---|
//! | options that choose one of several values | [`choices!`] |
//! | output files, which appear when they are complete | [`new_file`] |
//! | text files, in the encodings that editors and shells write | [`text`] |

mod choices;
pub mod new_file;
pub mod text;

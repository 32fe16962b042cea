//! Conversions of errors.

/// Declares conversions of errors into an error, by way of the error that one of its variants holds.
macro_rules! convert_by {
    ($error:ty { $($source:ty => $variant:ident),+ $(,)? }) => {$(
        impl From<$source> for $error {
            fn from(error: $source) -> Self {
                Self::$variant(error.into())
            }
        }
    )+};
}

pub(crate) use convert_by;

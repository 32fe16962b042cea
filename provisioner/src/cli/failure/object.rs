//! The exit codes and hints of calls about single identities.

use cli_support::exit::Exit;

use super::Failure;
use crate::objects::ObjectError;

impl From<ObjectError> for Failure {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Auth(error) => Self::new(Exit::BadInput, error),
            ObjectError::Changed(_) => Self::new(Exit::Refused, error)
                .hint("nothing was written; read it with `show` and run the command again"),
            ObjectError::Exists(_) => {
                Self::new(Exit::Refused, error).hint("`update` changes what is there; `show` prints it")
            }
            ObjectError::Hub(error) => error.into(),
            ObjectError::Missing(_) => Self::new(Exit::Refused, error),
            ObjectError::NothingToChange => Self::new(Exit::BadInput, error),
            ObjectError::Twin(error) => Self::new(Exit::BadInput, error),
        }
    }
}

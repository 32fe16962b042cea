//! [`choices!`](crate::choices): options that choose one of several values of a type that does not
//! know the command line.

/// Declares the values of an option, for `clap`, and the value of the type behind it that each
/// stands for. The variants of both have the same names.
///
/// ```
/// enum Depth {
///     Shallow,
///     Deep,
/// }
///
/// cli_support::choices! {
///     /// The value of `--depth`.
///     pub(crate) DepthArg: Depth {
///         /// The first level only.
///         Shallow,
///         /// All levels.
///         Deep,
///     }
/// }
///
/// assert!(matches!(DepthArg::Deep.into(), Depth::Deep));
/// ```
#[macro_export]
macro_rules! choices {
    ($(#[$meta:meta])* $visibility:vis $name:ident: $choice:ident { $($(#[$value:meta])* $variant:ident,)+ }) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ::clap::ValueEnum)]
        $(#[$meta])*
        $visibility enum $name {
            $($(#[$value])* $variant,)+
        }

        impl From<$name> for $choice {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => Self::$variant,)+
                }
            }
        }
    };
}

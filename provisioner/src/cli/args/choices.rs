//! The values of options that choose one of several.

use clap::ValueEnum;

use crate::hub::SignIn;
use crate::model::options::{ApplyMode, TwinPolicy};
use crate::objects::AuthMethod;

/// Declares the values of an option and the choices that they stand for.
macro_rules! choices {
    ($(#[$meta:meta])* $name:ident: $choice:ident { $($(#[$value:meta])* $variant:ident,)+ }) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
        $(#[$meta])*
        pub(in crate::cli) enum $name {
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

choices! {
    /// The value of `--mode`.
    ApplyModeArg: ApplyMode {
        /// Create missing identities; an existing one that differs is a conflict.
        Create,
        /// Create missing identities, and change those that differ.
        Upsert,
        /// Change identities that differ; missing ones stay missing.
        Update,
    }
}

choices! {
    /// The value of `--twin`.
    TwinPolicyArg: TwinPolicy {
        /// Keep and report a twin that was written since its creation.
        Initial,
        /// Merge the batch's values into the twin.
        Merge,
        /// Replace each section for which the batch gives values, so that it holds only these.
        Replace,
    }
}

choices! {
    /// The value of `--auth`.
    #[derive(Default)]
    SignInArg: SignIn {
        /// As the user of `az login`.
        Az,
        /// The first that is set up of: environment, managed identity, az.
        #[default]
        Entra,
        /// As the application that AZURE_TENANT_ID and AZURE_CLIENT_ID name, with AZURE_CLIENT_SECRET or
        /// AZURE_FEDERATED_TOKEN_FILE.
        Environment,
        /// As the managed identity of this machine; AZURE_CLIENT_ID names one of several.
        ManagedIdentity,
    }
}

choices! {
    /// The value of `--auth-method`, as in a batch file; `az` has a different name for the first.
    #[value(rename_all = "snake_case")]
    AuthMethodArg: AuthMethod {
        #[value(alias = "shared_private_key")]
        Sas,
        #[value(name = "x509_ca")]
        X509Ca,
        #[value(name = "x509_thumbprint")]
        X509Thumbprint,
    }
}

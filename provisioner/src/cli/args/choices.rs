//! The values of options that choose one of several.

use cli_support::choices;
use hub_types::dps::enrollment::AllocationPolicy;

use crate::hub::SignIn;
use crate::model::entry_settings::Reprovision;
use crate::model::options::{ApplyMode, TwinPolicy};
use crate::objects::AuthMethod;

choices! {
    /// The value of `--mode`.
    pub(in crate::cli) ApplyModeArg: ApplyMode {
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
    pub(in crate::cli) TwinPolicyArg: TwinPolicy {
        /// Keep and report a twin that was written since its creation.
        Initial,
        /// Merge the batch's values into the twin.
        Merge,
        /// Replace each section for which the batch gives values, so that it holds only these.
        Replace,
    }
}

choices! {
    /// The value of `--reprovision`.
    pub(in crate::cli) ReprovisionArg: Reprovision {
        /// Choose the hub again, and take the twin along.
        Migrate,
        /// Choose the hub again, and begin with the initial twin.
        Reset,
        /// Leave the device on its hub.
        Never,
    }
}

choices! {
    /// The value of `--allocation`.
    pub(in crate::cli) AllocationArg: AllocationPolicy {
        /// Evenly over the hubs, by the registration id.
        Hashed,
        /// To the hub with the lowest latency.
        GeoLatency,
        /// To the hub of `--iot-hub`.
        Static,
        /// By the function whose address is in `--webhook-file`.
        Custom,
    }
}

choices! {
    /// The value of `--auth`.
    #[derive(Default)]
    pub(in crate::cli) SignInArg: SignIn {
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
    pub(in crate::cli) AuthMethodArg: AuthMethod {
        #[value(alias = "shared_private_key")]
        Sas,
        #[value(name = "x509_ca")]
        X509Ca,
        #[value(name = "x509_thumbprint")]
        X509Thumbprint,
    }
}

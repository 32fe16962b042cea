//! [`Column`]: the meaning of a column of a batch, parsed from the name in its header.

use std::fmt;

use crate::header::suggest::suggest;
use crate::header::twin_column::TwinColumn;
use crate::problem::Flaw;

/// The meaning of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Column {
    /// One of the fixed columns.
    Field(Field),
    /// A free column `x_…`, for templates and people.
    Free(String),
    /// One value of the twin: `tags.…` or `desired.…`.
    Twin(TwinColumn),
}

impl Column {
    /// Parses a name, ours or one of the aliases.
    pub(crate) fn parse(name: &str) -> Result<Self, Flaw> {
        let name = name.trim();
        if let Some(field) = Field::from_name(name) {
            return Ok(Self::Field(field));
        }
        if let Some(twin_column) = TwinColumn::parse(name) {
            return twin_column.map(Self::Twin);
        }
        match name.get(..2) {
            Some("x_" | "X_") => Ok(Self::Free(name.replacen('X', "x", 1))),
            _ => Err(unknown(name)),
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => f.write_str(field.name()),
            Self::Free(name) => f.write_str(name),
            Self::Twin(twin_column) => write!(f, "{twin_column}"),
        }
    }
}

macro_rules! fields {
    ($($field:ident $name:literal $($alias:literal)*;)*) => {
        /// The fixed columns of a batch.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Field {
            $($field,)*
        }

        impl Field {
            pub(crate) const ALL: &[Self] = &[$(Self::$field,)*];

            /// The name in a header.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$field => $name,)*
                }
            }

            /// Names that other tools use, without case and separators.
            fn aliases(self) -> &'static [&'static str] {
                match self {
                    $(Self::$field => &[$($alias,)*],)*
                }
            }
        }
    };
}

fields! {
    DeviceId "device_id" "id" "device" "devicename" "registrationid";
    ModuleId "module_id" "module" "modulename";
    Auth "auth" "authtype" "authmethod" "authentication" "authenticationtype";
    PrimaryThumbprint "primary_thumbprint" "thumbprint" "thumbprintsha256" "x509thumbprintprimarythumbprint";
    SecondaryThumbprint "secondary_thumbprint" "x509thumbprintsecondarythumbprint";
    Certificate "certificate" "cert" "certificatepath" "certificatefile" "certpath" "certfile";
    Csr "csr" "csrpath" "csrfile" "certificaterequest" "certificatesigningrequest";
    PublicKey "public_key" "publickeypath" "publickeyfile" "spki" "subjectpublickeyinfo";
    PrimaryKey "primary_key" "symmetrickeyprimarykey";
    SecondaryKey "secondary_key" "symmetrickeysecondarykey";
    Profile "profile" "certificateprofile";
    Status "status";
    StatusReason "status_reason";
    Edge "edge" "iotedge" "edgeenabled" "edgedevice" "capabilitiesiotedge";
    Parent "parent" "parentid" "parentdevice" "parentdeviceid";
    Twin "twin" "twintemplate" "twinfile" "twinpath";
    ThumbprintSha1 "thumbprint_sha1" "sha1thumbprint";
    Serial "serial" "certificateserial";
    NotBefore "not_before" "validfrom";
    NotAfter "not_after" "validto";
    PrivateKey "private_key" "privatekeypath" "privatekeyfile" "keyfile" "keypath";
}

impl Field {
    fn from_name(name: &str) -> Option<Self> {
        let squashed = squash(name);
        let mut fields = Self::ALL.iter().copied();
        fields.find(|field| field.spellings().any(|spelling| spelling == squashed))
    }

    /// The name and its aliases, without case and separators.
    fn spellings(self) -> impl Iterator<Item = String> {
        let aliases = self.aliases().iter().map(|&alias| alias.to_owned());
        aliases.chain([squash(self.name())])
    }

    /// Returns true if the column holds secrets, so that its cells are never shown.
    pub(crate) fn is_secret(self) -> bool {
        matches!(self, Self::PrimaryKey | Self::SecondaryKey)
    }
}

/// The name without case and separators, so that `Device ID`, `deviceId` and `device_id` are equal.
fn squash(name: &str) -> String {
    let kept = name.chars().filter(|c| !matches!(c, '_' | '-' | ' ' | '.'));
    kept.flat_map(char::to_lowercase).collect()
}

fn unknown(name: &str) -> Flaw {
    let message = "no such column in a batch";
    let ways_out = "or begin a free column's name with `x_`, or rename it with `--map theirs=ours`";
    let remedy = match suggest_name(name) {
        Some(legal) => format!("did you mean `{legal}`? {ways_out}"),
        None => {
            let legal: Vec<_> = Field::ALL.iter().map(|field| field.name()).collect();
            format!("legal are {}, tags.…, desired.…; {ways_out}", legal.join(", "))
        }
    };
    Flaw::new(message, remedy)
}

fn suggest_name(name: &str) -> Option<String> {
    if let Some((section, path)) = name.split_once('.')
        && let Some(section) = suggest(section, ["tags", "desired"])
    {
        return Some(format!("{section}.{path}"));
    }
    let spellings: Vec<_> = Field::ALL
        .iter()
        .flat_map(|&field| field.spellings().map(move |spelling| (spelling, field)))
        .collect();
    let found = suggest(&squash(name), spellings.iter().map(|(spelling, _)| spelling.as_str()))?;
    let field = spellings.iter().find(|(spelling, _)| spelling == found);
    field.map(|(_, field)| field.name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_tools_are_understood() {
        for (theirs, ours) in [
            ("deviceId", "device_id"),
            ("Id", "device_id"),
            ("Device ID", "device_id"),
            ("MODULE-ID", "module_id"),
            ("PrimaryThumbPrint", "primary_thumbprint"),
            ("authentication.type", "auth"),
            ("capabilities.iotEdge", "edge"),
            ("properties.desired.a.b", "desired.a.b"),
            ("X_LineX", "x_LineX"),
        ] {
            assert_eq!(Column::parse(theirs).unwrap().to_string(), ours, "{theirs}");
        }
    }

    #[test]
    fn spellings_are_unambiguous() {
        let mut all: Vec<_> = Field::ALL.iter().flat_map(|field| field.spellings()).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn a_legal_name_is_suggested() {
        for (wrong, legal) in [
            ("devce_id", "`device_id`"),
            ("primary_thumprint", "`primary_thumbprint`"),
            ("sttus", "`status`"),
            ("tag.site", "`tags.site`"),
            ("desird.a.b", "`desired.a.b`"),
        ] {
            let remedy = Column::parse(wrong).unwrap_err().remedy;
            assert!(remedy.contains(legal), "{wrong}: {remedy}");
        }
        let remedy = Column::parse("Werkstoffnummer").unwrap_err().remedy;
        assert!(remedy.contains("legal are device_id, module_id"), "{remedy}");
    }
}

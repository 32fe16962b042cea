//! [`Column`]: the meaning of a column of a batch, parsed from the name in its header.

use std::fmt;
use std::sync::LazyLock;

use crate::header::module_column::ModuleColumn;
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
    /// A column that the user does not want to be read.
    Ignored(String),
    /// A column of one module, in the row of its device.
    Module(ModuleColumn),
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

    /// Returns true if both have the same meaning, regardless of forced types.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ignored(_), Self::Ignored(_)) => false,
            (Self::Module(one), Self::Module(other)) => one.is_same(other),
            (Self::Twin(one), Self::Twin(other)) => one.is_same_place(other),
            (one, other) => one == other,
        }
    }

    /// Returns true if its cells are never shown.
    pub(crate) fn is_secret(&self) -> bool {
        match self {
            Self::Field(field) => field.is_secret(),
            Self::Module(column) => column.column.is_secret(),
            Self::Free(_) | Self::Ignored(_) | Self::Twin(_) => false,
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => f.write_str(field.name()),
            Self::Free(name) | Self::Ignored(name) => f.write_str(name),
            Self::Module(column) => write!(f, "{column}"),
            Self::Twin(twin_column) => write!(f, "{twin_column}"),
        }
    }
}

macro_rules! fields {
    ($($field:ident $name:literal [$($alias:literal),*] $content:ident $owner:expr;)*) => {
        /// The fixed columns of a batch.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Field {
            $($field,)*
        }

        impl Field {
            pub(crate) const ALL: &[Self] = &[$(Self::$field,)*];

            /// The name in a header.
            pub(crate) const fn name(self) -> &'static str {
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

            /// The kind of its cells.
            pub(crate) fn content(self) -> Content {
                match self {
                    $(Self::$field => Content::$content,)*
                }
            }

            /// The rows that may have it.
            pub(crate) fn owner(self) -> Owner {
                match self {
                    $(Self::$field => $owner,)*
                }
            }
        }
    };
}

fields! {
    DeviceId "device_id" ["id", "device", "devicename", "registrationid"] Id Owner::All;
    ModuleId "module_id" ["module", "modulename"] Id Owner::All;
    Auth "auth" ["authtype", "authmethod", "authentication", "authenticationtype"] Value Owner::All;
    PrimaryThumbprint "primary_thumbprint"
        ["thumbprint", "thumbprintsha256", "x509thumbprintprimarythumbprint"] Value THUMBPRINT;
    SecondaryThumbprint "secondary_thumbprint" ["x509thumbprintsecondarythumbprint"] Value THUMBPRINT;
    Certificate "certificate"
        ["cert", "certificatepath", "certificatefile", "certpath", "certfile"] Name CERTIFICATE;
    Csr "csr" ["csrpath", "csrfile", "certificaterequest", "certificatesigningrequest"] Value CERTIFICATE;
    PublicKey "public_key"
        ["publickeypath", "publickeyfile", "spki", "subjectpublickeyinfo"] Value CERTIFICATE;
    PrimaryKey "primary_key" ["symmetrickeyprimarykey"] Secret KEY;
    SecondaryKey "secondary_key" ["symmetrickeysecondarykey"] Secret KEY;
    Profile "profile" ["certificateprofile"] Name CERTIFICATE;
    Status "status" [] Value Owner::Devices;
    StatusReason "status_reason" [] Text Owner::Devices;
    Edge "edge" ["iotedge", "edgeenabled", "edgedevice", "capabilitiesiotedge"] Value Owner::Devices;
    Parent "parent" ["parentid", "parentdevice", "parentdeviceid"] Id Owner::Devices;
    Twin "twin" ["twintemplate", "twinfile", "twinpath"] Name Owner::All;
    ThumbprintSha1 "thumbprint_sha1" ["sha1thumbprint"] Value Owner::All;
    Serial "serial" ["certificateserial"] Value Owner::All;
    NotBefore "not_before" ["validfrom"] Value Owner::All;
    NotAfter "not_after" ["validto"] Value Owner::All;
    PrivateKey "private_key" ["privatekeypath", "privatekeyfile", "keyfile", "keypath"] Name Owner::All;
}

const THUMBPRINT: Owner = Owner::Auth(&[AuthMethod::X509Thumbprint]);
const CERTIFICATE: Owner = Owner::Auth(&[AuthMethod::X509Thumbprint, AuthMethod::X509Ca]);
const KEY: Owner = Owner::Auth(&[AuthMethod::Sas]);

/// The kind of a column's cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// The id of a device or a module. Removed blanks and lost zeros are reported.
    Id,
    /// The name of a file or a profile. Removed blanks are reported.
    Name,
    /// A secret, which is never shown.
    Secret,
    /// Text for people, which keeps its blanks.
    Text,
    /// Everything else.
    Value,
}

/// The rows that may have a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// All rows.
    All,
    /// Rows of devices; rows of modules must not.
    Devices,
    /// Rows with one of these methods of authentication. The first is the usual one.
    Auth(&'static [AuthMethod]),
}

/// The value of `auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthMethod {
    Sas,
    X509Ca,
    X509Thumbprint,
}

impl AuthMethod {
    pub(crate) const ALL: [Self; 3] = [Self::Sas, Self::X509Ca, Self::X509Thumbprint];

    /// The name in a batch.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sas => "sas",
            Self::X509Ca => "x509_ca",
            Self::X509Thumbprint => "x509_thumbprint",
        }
    }
}

impl Field {
    /// The columns that rows with a method of authentication must not have.
    pub(crate) fn foreign_to(method: AuthMethod) -> &'static [Self] {
        static FOREIGN: LazyLock<[Vec<Field>; AuthMethod::ALL.len()]> = LazyLock::new(|| {
            AuthMethod::ALL.map(|method| {
                let is_foreign = |owner| matches!(owner, Owner::Auth(of) if !of.contains(&method));
                Field::ALL.iter().copied().filter(|field| is_foreign(field.owner())).collect()
            })
        });
        FOREIGN.get(method as usize).map_or(&[], Vec::as_slice)
    }

    /// The columns that only rows of devices have.
    pub(crate) fn of_devices() -> &'static [Self] {
        static OF_DEVICES: LazyLock<Vec<Field>> = LazyLock::new(|| {
            Field::ALL.iter().copied().filter(|field| field.owner() == Owner::Devices).collect()
        });
        &OF_DEVICES
    }

    /// The column with a number of `Field as u8`.
    #[expect(clippy::expect_used, reason = "only numbers of columns are kept")]
    pub(crate) fn numbered(number: u8) -> Self {
        *Self::ALL.get(usize::from(number)).expect("the number is that of a column")
    }

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
        self.content() == Content::Secret
    }
}

/// The name without case and separators, so that `Device ID`, `deviceId` and `device_id` are equal.
fn squash(name: &str) -> String {
    let kept = name.chars().filter(|c| !matches!(c, '_' | '-' | ' ' | '.'));
    kept.flat_map(char::to_lowercase).collect()
}

fn unknown(name: &str) -> Flaw {
    let message = "no such column in a batch";
    let ways_out = "or begin a free column's name with `x_`, rename it with `--map theirs=ours`, or \
                    pass over it with `--ignore`";
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
        assert!(remedy.starts_with("legal are device_id, module_id, "), "{remedy}");
        assert!(Field::ALL.iter().all(|field| remedy.contains(&format!(" {},", field.name()))), "{remedy}");
    }
}

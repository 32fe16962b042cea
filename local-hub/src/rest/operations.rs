//! The tables of the operations of an API.
//!
//! A line of an operation has its name in logs and errors, its access, its throttling, its handler,
//! and its routes: the right that it needs, its method and its paths. `{}` in a path stands for any
//! one segment. Routes are matched in the order of the table, because paths overlap.

use hub_types::limits::OperationClass;

/// The access of an operation to the content of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Reads,
    Writes,
}

/// The throttling of an operation, and its charging as messages of the day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    pub(crate) class: OperationClass,
    /// The name of the operation in a 429 response.
    pub(crate) kind: &'static str,
    pub(crate) charged: bool,
}

/// The part of a line that does not depend on a route.
pub(crate) struct OperationProperties {
    pub(crate) name: &'static str,
    pub(crate) access: Access,
    pub(crate) meter: Option<Meter>,
}

/// The throttling of an operation that is not charged as a message.
pub(crate) const fn free(class: OperationClass, kind: &'static str) -> Option<Meter> {
    Some(Meter { class, kind, charged: false })
}

/// The throttling of an operation that is charged as a message.
pub(crate) const fn charged(class: OperationClass, kind: &'static str) -> Option<Meter> {
    Some(Meter { class, kind, charged: true })
}

/// The throttling of an operation whose size only its handler knows. The handler throttles it.
pub(crate) const fn by_handler() -> Option<Meter> {
    None
}

/// Declares the enumeration of an API's operations, its routes, and the call of the handlers.
macro_rules! operations {
    (
        $(#[$doc:meta])*
        $operation:ident of $api:ty;
        implemented {$(
            $name:ident: $access:ident, $meter:expr, $($handler:ident)::+ $(<$entry:ty>)? $(.$await:ident)?,
            $right:ident $method:ident $($path:literal)+;
        )*}
        not_implemented {$(
            $missing:ident: $missing_right:ident $missing_method:ident $($missing_path:literal)+;
        )*}
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $operation {
            $($name,)*
            /// An operation of the service that is not supported here, by its name.
            #[allow(dead_code, reason = "a service may have no such operation")]
            NotImplemented(&'static str),
        }

        impl $operation {
            const fn properties(self) -> $crate::rest::operations::OperationProperties {
                use $crate::rest::operations::{Access, OperationProperties};
                match self {
                    $(Self::$name => {
                        OperationProperties { name: stringify!($name), access: Access::$access, meter: $meter }
                    })*
                    Self::NotImplemented(name) => OperationProperties { name, access: Access::Writes, meter: None },
                }
            }

            /// The throttling, unless the operation is not implemented or its handler throttles it.
            pub(crate) const fn meter(self) -> Option<$crate::rest::operations::Meter> {
                self.properties().meter
            }
        }

        impl $crate::rest::ApiOperation for $operation {
            fn name(self) -> &'static str {
                self.properties().name
            }

            fn only_reads(self) -> bool {
                matches!(self.properties().access, $crate::rest::operations::Access::Reads)
            }
        }

        /// The routes, in the order in which they are matched.
        pub(crate) const ROUTES: &[$crate::rest::routes::Route<$api>] = &[
            $($($crate::rest::routes::Route {
                method: http::Method::$method,
                path: $path,
                right: Right::$right,
                operation: $operation::$name,
            },)+)*
            $($($crate::rest::routes::Route {
                method: http::Method::$missing_method,
                path: $missing_path,
                right: Right::$missing_right,
                operation: $operation::NotImplemented(stringify!($missing)),
            },)+)*
        ];

        /// Performs the operation of a call.
        pub(crate) async fn perform(
            api: &std::sync::Arc<$api>,
            call: $crate::rest::call::Call<$api>,
        ) -> $crate::api_error::ApiResult<$crate::rest::reply::Reply> {
            match call.operation {
                $($operation::$name => $($handler)::+ $(::<$entry>)? (api, call)$(.$await)?,)*
                $operation::NotImplemented(name) => Err($crate::api_error::ApiError::not_implemented(name)),
            }
        }

        /// The name of every operation, unsupported ones included, in alphabetical order.
        pub(crate) fn operation_names() -> Vec<&'static str> {
            let names = ROUTES.iter().map(|route| $crate::rest::ApiOperation::name(route.operation));
            names.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
        }
    };
}

pub(crate) use operations;

/// Compares a table with a file of this crate, which different tests compare with the responses of
/// a running service. Writes the file instead if snapshots are to be updated.
#[cfg(test)]
pub(crate) fn check_table<A: super::Api>(file: &str, is_missing: fn(A::Operation) -> bool)
where
    A::Right: crate::access::policy::Rights,
{
    use std::{env, fs};

    use super::ApiOperation;
    use super::routes::Route;
    use crate::access::policy::Policies;

    let policies = Policies::<A::Right>::generate();
    let allowed = |right| {
        let mut names: Vec<_> = policies.names().collect();
        names.retain(|name| policies.find(name).is_some_and(|policy| policy.allows(right)));
        names.sort_unstable();
        names.join(" ")
    };
    let rows = A::ROUTES.iter().map(|Route { operation, method, path, right }| {
        let missing = if is_missing(*operation) { "; not implemented" } else { "" };
        format!("{} {method} {path}: {}{missing}\n", operation.name(), allowed(*right))
    });
    let content: String = rows.collect();
    let file = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
    if env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        return fs::write(file, content).unwrap();
    }
    assert_eq!(fs::read_to_string(file).unwrap(), content, "INSTA_UPDATE=always writes the file");
}

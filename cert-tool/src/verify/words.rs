//! The validator's errors in words.

use webpki::Error;

/// Returns the words for the error of a chain or a revocation list.
pub(super) fn of(error: &Error) -> String {
    let text = match error {
        Error::BadDer => "a certificate or revocation list on the way is damaged",
        Error::BadDerTime => {
            "a certificate or revocation list on the way has a date before 1970, or one that is not written as RFC \
             5280 says"
        }
        Error::CaUsedAsEndEntity => "it is the certificate of a CA",
        Error::CertDistrusted => "a certificate on the way is distrusted",
        Error::CertExpired { .. } | Error::CertNotValidYet { .. } => {
            "a certificate on the way is not good at this time"
        }
        Error::CertRevoked => "it, or one of its issuers, is revoked",
        Error::CrlExpired { .. } => "the revocation list is too old",
        Error::EmptyEkuExtension => "a certificate on the way has an empty list of usages",
        Error::EndEntityUsedAsCa => "an issuer on the way is no CA",
        Error::ExtensionValueInvalid | Error::MalformedExtensions => {
            "a certificate on the way has a damaged extension"
        }
        Error::InvalidCertValidity => "a certificate on the way ends before it begins",
        Error::InvalidCrlNumber => "the revocation list's number is not a positive one of at most 20 bytes",
        Error::InvalidCrlSignatureForPublicKey => "the revocation list is not signed by its issuer",
        Error::InvalidNetworkMaskConstraint | Error::MalformedNameConstraint => {
            "the limits that an issuer has are damaged"
        }
        Error::InvalidSerialNumber => {
            "a certificate on the way has a serial number that is negative or has more than 20 bytes"
        }
        Error::InvalidSignatureForPublicKey => "a signature on the way is not one with its issuer's key",
        Error::IssuerNotCrlSigner => "its issuer may not sign revocation lists",
        Error::MalformedDnsIdentifier => "a certificate on the way has an invalid DNS name",
        Error::MaximumNameConstraintComparisonsExceeded
        | Error::MaximumPathBuildCallsExceeded
        | Error::MaximumSignatureChecksExceeded => {
            "the search for a good way to a trusted certificate was given up, because too many ways lead from CA to CA: \
             give only the CAs that have signed it"
        }
        Error::MaximumPathDepthExceeded => {
            "more than six CAs are between it and the trusted certificate, which is not supported"
        }
        Error::NameConstraintViolation => {
            "an issuer limits DNS names or IP addresses, and not all of these are within the limits"
        }
        Error::PathLenConstraintViolated => {
            "there are more CAs on the way than one of them allows (path length)"
        }
        Error::SignatureAlgorithmMismatch => {
            "a certificate or revocation list on the way names two signature algorithms"
        }
        Error::TrailingData(_) => {
            "a certificate or revocation list on the way has unique identifiers, which are not supported, or bytes \
             that should not be there"
        }
        Error::UnknownIssuer => "there is no way from its issuer to a trusted certificate",
        Error::UnknownRevocationStatus => "no revocation list is from its issuer",
        Error::UnsupportedCertVersion => "a certificate on the way is not of version 3",
        Error::UnsupportedCriticalExtension => "a critical extension on the way is not known",
        Error::UnsupportedCrlIssuingDistributionPoint => {
            "the revocation list is for a distribution point without a full name, which is not supported"
        }
        Error::UnsupportedCrlVersion => "the revocation list is of version 1, which is not supported",
        Error::UnsupportedDeltaCrl => {
            "the revocation list has changes only (a delta list), which is not supported: give the complete one"
        }
        Error::UnsupportedIndirectCrl => {
            "the revocation list is for certificates of other issuers too (indirect), which is not supported"
        }
        Error::UnsupportedNameType => "a name on the way is of a kind that is not supported",
        Error::UnsupportedRevocationReason => "the revocation list has a reason that is not known",
        Error::UnsupportedRevocationReasonsPartitioning => {
            "the revocation list is for some reasons only, which is not supported"
        }
        Error::UnsupportedCrlSignatureAlgorithmContext(_)
        | Error::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => {
            "the revocation list is signed in a way that is not supported, or that does not fit its issuer's key"
        }
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "a signature on the way is of a kind that is not supported, or that does not fit its issuer's key"
        }
        _ => "the chain is refused, for a reason that has no words here",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use webpki::DerTypeId;

    use super::*;

    #[test]
    fn no_error_of_the_validator_shows_its_name() {
        let errors = [
            Error::BadDer,
            Error::BadDerTime,
            Error::CaUsedAsEndEntity,
            Error::CertDistrusted,
            Error::CertRevoked,
            Error::EmptyEkuExtension,
            Error::EndEntityUsedAsCa,
            Error::ExtensionValueInvalid,
            Error::InvalidCertValidity,
            Error::InvalidCrlNumber,
            Error::InvalidCrlSignatureForPublicKey,
            Error::InvalidNetworkMaskConstraint,
            Error::InvalidSerialNumber,
            Error::InvalidSignatureForPublicKey,
            Error::IssuerNotCrlSigner,
            Error::MalformedDnsIdentifier,
            Error::MalformedExtensions,
            Error::MalformedNameConstraint,
            Error::MaximumNameConstraintComparisonsExceeded,
            Error::MaximumPathBuildCallsExceeded,
            Error::MaximumPathDepthExceeded,
            Error::MaximumSignatureChecksExceeded,
            Error::NameConstraintViolation,
            Error::PathLenConstraintViolated,
            Error::SignatureAlgorithmMismatch,
            Error::TrailingData(DerTypeId::Time),
            Error::UnknownIssuer,
            Error::UnknownRevocationStatus,
            Error::UnsupportedCertVersion,
            Error::UnsupportedCriticalExtension,
            Error::UnsupportedCrlIssuingDistributionPoint,
            Error::UnsupportedCrlVersion,
            Error::UnsupportedDeltaCrl,
            Error::UnsupportedIndirectCrl,
            Error::UnsupportedNameType,
            Error::UnsupportedRevocationReason,
            Error::UnsupportedRevocationReasonsPartitioning,
        ];
        for error in errors {
            let text = of(&error);
            assert!(!text.contains("no words") && !text.contains(&error.to_string()), "{text}");
        }
    }
}

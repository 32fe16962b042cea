//! The examples below the help of each verb.

pub(super) const OVERVIEW: &str = "\
From a list to certificates:
  cert-tool ca init ca
  cert-tool issue --ca ca --from batch.csv --out issued
  cert-tool extract issued --device-id device01 --out device01

`issued/issued.csv` is a batch file itself, with thumbprints, for `provisioner apply`.";
pub(super) const BUNDLE_EXAMPLES: &str = "\
Examples:
  cert-tool bundle issued --device-id gw-1 --edge --hub plant7.azure-devices.net --ca ca --out gw-1
  cert-tool bundle issued --all --hub plant7.azure-devices.net --ca root.pem --tar --out bundles
  cert-tool bundle issued --from batch.csv --dps-scope 0ne00112233 --ca ca --out bundles

A bundle has cert.pem, chain.pem, key.pem, root.pem, and connection.json for programs with an SDK or,
with --edge, config.toml of IoT Edge 1.5 and 1.6. Bundles of several identities are in folders like
`bundles/devices/gw-1`; a capital in an id is `_` and its small letter in the name of the folder. The
same command again makes only missing bundles.";
pub(super) const CONVERT_EXAMPLES: &str = "\
Examples:
  cert-tool convert device01/chain.pem --to p7b --out chain.p7b
  cert-tool convert root.pem --to der --out root.cer

Only certificates are converted; for a key with its certificate see `cert-tool pfx`.";
pub(super) const CA_CRL_EXAMPLES: &str = "\
Examples:
  cert-tool ca crl ca --out ca.crl --days 30
  cert-tool ca crl ca --root --out root.crl --days 180";
pub(super) const CA_CROSS_SIGN_EXAMPLES: &str = "\
Example (run each command where the key of its CA is):
  cert-tool ca cross-sign new-root.pem --ca old-root --out new-by-old.pem
  cert-tool ca cross-sign old-root.pem --ca new-root --out old-by-new.pem";
pub(super) const CA_REKEY_EXAMPLES: &str = "\
Example:
  cert-tool ca rekey plant7 plant7-g2
  cert-tool issue --ca plant7-g2 --from devices.csv --out issued-g2

The new root is in `plant7-g2/root.pem`. Let the hub trust it beside the old root until the last
device has its new certificate. `docs/new-ca.md` describes all steps.";
pub(super) const CA_RENEW_EXAMPLES: &str = "\
Examples:
  cert-tool ca renew ca --days 3650
  cert-tool ca renew ca --root --days 7300

If the root is on a different machine:
  cert-tool ca renew plant7                                                          (writes plant7/issuing.csr)
  cert-tool ca sign plant7/issuing.csr --ca root --keep-subject --out plant7.pem     (where the root is)
  cert-tool ca import plant7 --certificate plant7.pem";
pub(super) const EXPIRING_EXAMPLES: &str = "\
Example:
  cert-tool expiring --ca ca --within 60d --out ending.csv
  cert-tool renew --ca ca --from ending.csv --out renewed";
pub(super) const FIND_EXAMPLES: &str = "\
Examples:
  cert-tool find --ca ca --device-id device01 --module-id module01
  cert-tool find --ca ca --thumbprint 4F:1C:…

Finding a thumbprint or serial number reads all entries: a second for some millions.";
pub(super) const PFX_EXAMPLES: &str = "\
Examples:
  cert-tool pfx issued --device-id device01 --out device01.pfx --password-file pfx.password
  cert-tool pfx issued --all --out pfx --password-file pfx.password
  cert-tool pfx issued --from batch.csv --out pfx --legacy --password-file <(pass show pfx)

PFX files of several identities are `pfx/devices/device01.pfx` and
`pfx/modules/device01/module01.pfx`; a capital in an id is `_` and its small letter in the file name.
The same command again makes only missing files.";
pub(super) const RENEW_EXAMPLES: &str = "\
Examples:
  cert-tool renew --ca ca --within 60d --out renewed
  cert-tool renew --ca ca --device-id device01 --same-key --out renewed

`renewed/issued.csv` registers the new thumbprint beside the old one. Remove the old one when the
device has its new certificate.";
pub(super) const REVOKE_EXAMPLES: &str = "\
Example:
  cert-tool revoke --ca ca --device-id device01 --reason keyCompromise
  cert-tool ca crl ca --out ca.crl
  cert-tool revoke --ca ca --device-id device02 --reason certificateHold
  cert-tool revoke --ca ca --device-id device02 --release
  cert-tool revoke --ca root --root --name \"Plant 7 Issuing CA\" --reason superseded

--device-id revokes all certificates of the identity, also renewed ones; --serial and --thumbprint
revoke one. A hub does not read revocation lists: disable the device there too.";
pub(super) const CA_INIT_EXAMPLES: &str = "\
Example:
  cert-tool ca init ca --name \"Plant 7\" --encrypt
  cert-tool ca init ca --name \"Plant 7\" --subject 'C=DE,O=Acme'
  cert-tool ca init ca --pkcs11 'pkcs11:token=plant;object=ca?module-path=/usr/lib/softhsm/libsofthsm2.so'

  cert-tool ca init ca --crl-url http://pki.acme.example/ca.crl --issuer-url http://pki.acme.example/ca.crt
  cert-tool ca init root --root-only --for azure-device-registry --name Acme

Then keep `root.key` somewhere else: issuing does not need it.";
pub(super) const CA_CSR_EXAMPLES: &str = "\
Example, if the root is on a different machine:
  cert-tool ca csr plant7 --name \"Plant 7\"
  cert-tool ca sign plant7/issuing.csr --ca root --out plant7.pem      (where the root is)
  cert-tool ca import plant7 --certificate plant7.pem";
pub(super) const CA_IMPORT_EXAMPLES: &str = "\
Examples:
  cert-tool ca import ca --certificate ca.pem --chain root.pem --key ca.key
  cert-tool ca import plant7 --certificate plant7.pem";
pub(super) const CA_POLICY_EXAMPLES: &str = "\
Example:
  cert-tool ca policy ca --identities 'pump-[0-9]{6}(/.*)?' --max-days 400 --key-types p256,p384
  cert-tool ca policy ca --subjects 'C=DE,O=Acme(,.*)?' --dns-names '.*[.]acme[.]example' --extended-key-usages serverAuth

The rules are in `policy.toml` beside the CA. They hold for every certificate that it issues.";
pub(super) const CA_PROVE_EXAMPLES: &str =
    "Example:\n  cert-tool ca prove ca --code 106A5SD242AF512B --out proof.pem";
pub(super) const CA_SIGN_EXAMPLES: &str = "\
Examples:
  cert-tool ca sign plant7/issuing.csr --ca root --out plant7.pem
  cert-tool ca sign europe/issuing.csr --ca root --path-length 1 --out europe.pem
  cert-tool ca sign plant7/issuing.csr --ca europe --permit dns:plant7.example --out plant7.pem
  cert-tool ca sign partner.csr --ca root --keep-subject --out partner.pem
  cert-tool ca sign azure.csr --ca root --for azure-device-registry --out azure.pem";
pub(super) const CA_SHOW_EXAMPLES: &str = "Example:\n  cert-tool ca show ca --format json";
pub(super) const CSR_EXAMPLES: &str = "\
Examples:
  cert-tool csr --device-id device01 --module-id module01 --key-out key.pem --out module01.csr
  cert-tool csr --device-id device01 --key-type p384 --key-out key.pem --format base64-der --out csr.b64
  cert-tool csr --from batch.csv --out requests

--format base64-der writes DER in base64, in one line, as the Device Provisioning Service accepts it
(with keys on P-384); --format der writes DER.

With --from, `requests/requests.csv` is a batch file for `issue --from`.";
pub(super) const EXTRACT_EXAMPLES: &str = "Examples:
  cert-tool extract issued --device-id device01 --out device01
  cert-tool extract issued --device-id device01 --encoding der --out device01

With --encoding der the files are cert.der, chain.p7b and key.der (PKCS #8).";
pub(super) const ISSUE_EXAMPLES: &str = "\
Examples:
  cert-tool issue --ca ca --from batch.csv --out issued
  cert-tool issue --ca ca --device-id device01 --module-id module01 --out module01
  cert-tool issue --ca ca --count 1000000 --pattern 'pump-{:06}' --out pumps
  cert-tool issue --ca ca --from batch.csv --out issued --pfx pfx --password-file pfx.password

  cert-tool issue --ca ca --device-id gw-1 --subject 'C=DE,O=Acme,OU=Plant 7' --out gw-1
  cert-tool issue --ca ca --from batch.csv --profile gateway --out issued

The same command again issues only missing certificates. The request of a row with a `csr` is signed.
Profiles are in `profile.toml` beside the CA.";
pub(super) const SHOW_EXAMPLES: &str = "\
Examples:
  cert-tool show device01/cert.pem --format json
  cert-tool show device01.pfx --password-file password

Only the public half of a private key is shown.";
pub(super) const SIGN_EXAMPLES: &str = "\
Examples:
  cert-tool sign module01.csr --ca ca --out signed
  cert-tool sign incoming --ca ca --out signed --expect batch.csv
  cert-tool sign --ca ca --out signed --expect requests.csv --format csv > report.csv

Only the public key is copied from a request. Its subject must be `CN=device01` or
`CN=device01/module01`. A refused request does not stop the others. The report names its file,
identity and rule.";
pub(super) const TEST_PKI_EXAMPLES: &str = "\
Example:
  cert-tool test-pki pki --seed 1 --at 2027-01-01

`pki/expected.json` names the fault of each certificate and who must refuse it. `pki/README.md` shows
how to use the folder. Every private key in it is public.";
pub(super) const THUMBPRINT_EXAMPLES: &str = "\
Examples:
  cert-tool thumbprint device01/cert.pem
  cert-tool thumbprint issued/certificates.pem --format csv
  openssl s_client -connect host:8883 </dev/null | cert-tool thumbprint -

The thumbprint of a key is the hash of its SubjectPublicKeyInfo: `public_key_sha256` in the output of
`show` for the certificate of the key.";
pub(super) const VERIFY_EXAMPLES: &str = "\
Examples:
  cert-tool verify device01/chain.pem --ca ca --device-id device01 --key device01/key.pem
  cert-tool verify *.pem --ca root.pem --crl crl.pem --at 2027-01-31 --format json
  cert-tool verify self-signed.pem --thumbprint 5E884898DA28047151D0E56F8DC6292773603D0D
  cert-tool verify issued/certificates.pem --each --ca ca
  cert-tool verify device.pem --ca root.pem --intermediates issuing.pem --for dps

The output has one line for each check. A trusted thumbprint replaces the chain, as on a hub; with
--ca, both are checked. Exit code 1 if a check fails. A fault that the party accepts is `advice`.";

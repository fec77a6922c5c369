//! From content to the wire.

use prost::Message as _;
use prost_types::Any;
use signet_proto::sds::data_source::Specifier;
use signet_proto::sds::secret::Type;
use signet_proto::sds::spiffe_cert_validator_config::TrustDomain;
use signet_proto::sds::{
    CertificateValidationContext, DataSource, Secret, SpiffeCertValidatorConfig, TlsCertificate,
    TypedExtensionConfig,
};
use signet_spiffe::X509Bundle;
use signet_workload_api::{RevocationList, X509Svid};
use zeroize::Zeroize as _;

use crate::content::Content;
use crate::name::Kind;
use crate::pem::block;
use crate::withdrawn::Withdrawn;

/// The type of all resources here.
pub(crate) const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
const VALIDATOR: &str = "envoy.tls.cert_validator.spiffe";
const VALIDATOR_CONFIG: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig";

/// A resource. It holds a private key where the content does; what encodes and sends it wipes nothing.
pub(crate) fn resource(name: &str, content: &Content, withdrawn: &Withdrawn) -> Any {
    let content = match content {
        Content::Svid(svid) => certificate(svid),
        Content::Bundles(bundles) => validation(bundles.iter().map(trust_domain).collect()),
        Content::Withdrawn(Kind::Certificate) => Type::TlsCertificate(TlsCertificate {
            certificate_chain: Some(inline(withdrawn.certificate())),
            private_key: Some(inline(withdrawn.key())),
        }),
        Content::Withdrawn(Kind::Validation) => validation(vec![TrustDomain {
            name: Withdrawn::TRUST_DOMAIN.to_owned(),
            trust_bundle: Some(inline(withdrawn.authority())),
        }]),
    };
    let mut secret = Secret {
        name: name.to_owned(),
        r#type: Some(content),
    };
    let any = Any {
        type_url: SECRET.to_owned(),
        value: secret.encode_to_vec(),
    };
    wipe(&mut secret);
    any
}

fn certificate(svid: &X509Svid) -> Type {
    let chain = svid.chain().iter();
    let chain: Vec<_> = chain.flat_map(|der| block("CERTIFICATE", der)).collect();
    Type::TlsCertificate(TlsCertificate {
        certificate_chain: Some(inline(chain)),
        private_key: Some(inline(block("PRIVATE KEY", svid.secret_key()))),
    })
}

/// The validator reads the list out of the bundle's file, and checks each certificate against it.
fn trust_domain((bundle, list): (&X509Bundle, Option<&RevocationList>)) -> TrustDomain {
    let mut pem = bundle.to_pem().into_bytes();
    let lists = list.iter().flat_map(|list| list.all());
    pem.extend(lists.flat_map(|der| block("X509 CRL", der)));
    TrustDomain {
        name: bundle.trust_domain().as_str().to_owned(),
        trust_bundle: Some(inline(pem)),
    }
}

fn validation(trust_domains: Vec<TrustDomain>) -> Type {
    let config = SpiffeCertValidatorConfig { trust_domains };
    Type::ValidationContext(CertificateValidationContext {
        custom_validator_config: Some(TypedExtensionConfig {
            name: VALIDATOR.to_owned(),
            typed_config: Some(Any {
                type_url: VALIDATOR_CONFIG.to_owned(),
                value: config.encode_to_vec(),
            }),
        }),
    })
}

fn inline(bytes: impl Into<Vec<u8>>) -> DataSource {
    DataSource {
        specifier: Some(Specifier::InlineBytes(bytes.into())),
    }
}

fn wipe(secret: &mut Secret) {
    if let Some(Type::TlsCertificate(certificate)) = &mut secret.r#type
        && let Some(DataSource {
            specifier: Some(Specifier::InlineBytes(key)),
        }) = &mut certificate.private_key
    {
        key.zeroize();
    }
}

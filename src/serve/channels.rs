//! The gateway channels that the configuration names.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context as _;

use crate::{
    clock::Clock,
    config::{self, ChannelKind, Config, SignatureStyle},
    gateway::{
        Channel, Channels, Gate,
        alipay::{self, AlipayChannel, AlipayConfig, CertificateTexts},
        webhook::{NotificationStyle, WebhookChannel, WebhookConfig},
        wechat_pay::{self, WechatPayChannel, WechatPayConfig},
    },
    ids::CenterId,
};

/// The channel of `[gateway]` first, then those of `[channels.NAME]` in the order of their names. `address` is where the service
/// listens.
///
/// # Errors
/// Whatever keeps a channel from being made; the message names the key.
pub(super) fn open(config: &Config, address: SocketAddr, clock: &Clock) -> anyhow::Result<Channels> {
    let own = |name: &str| format!("http://{address}/v1/notifications/{name}");
    let mut gates = Vec::new();
    if let Some(gateway) = &config.gateway {
        let of_gateway = WebhookConfig {
            id: gateway.channel.clone(),
            base_url: gateway.base_url.clone(),
            secret: gateway.secret.clone(),
        };
        let channel = WebhookChannel::try_new(of_gateway, clock.clone()).context("gateway.base_url")?;
        let notify_url = gateway.notify_url.clone().unwrap_or_else(|| own(&gateway.channel));
        gates.push(Gate {
            fee_rate: gateway.fee_rate,
            ..Gate::new(Arc::new(channel), notify_url)
        });
    }
    for (name, told) in &config.channels {
        let common = &told.common;
        gates.push(Gate {
            channel: channel(name, told, clock)?,
            notify_url: common.notify_url.clone().unwrap_or_else(|| own(name)),
            centers: centers(name, common.centers.as_deref())?,
            fee_rate: common.fee_rate,
        });
    }
    Ok(Channels::new(gates))
}

fn centers(name: &str, told: Option<&[String]>) -> anyhow::Result<Option<BTreeSet<CenterId>>> {
    let parse =
        |id: &String| CenterId::parse(id).map_err(|error| config::invalid(name, "centers", format!("{id:?}: {error}")));
    Ok(told
        .map(|ids| ids.iter().map(parse).collect::<Result<_, _>>())
        .transpose()?)
}

fn channel(name: &str, told: &config::Channel, clock: &Clock) -> anyhow::Result<Arc<dyn Channel>> {
    match &told.kind {
        ChannelKind::Webhook(own) => {
            let of_channel = WebhookConfig {
                id: name.to_owned(),
                base_url: told.common.base_url.clone().unwrap_or_default(),
                secret: own.secret(name)?,
            };
            let style = style(name, own)?;
            let channel = WebhookChannel::try_new(of_channel, clock.clone());
            let channel = channel.map_err(|error| config::invalid(name, "base_url", error))?;
            Ok(Arc::new(channel.with_notifications(style)))
        }
        ChannelKind::Alipay(own) => {
            let of_channel = alipay(name, told.common.base_url.as_deref(), own)?;
            let channel = AlipayChannel::try_new(of_channel, clock.clone());
            Ok(Arc::new(
                channel.map_err(|error| config::invalid(name, error.key(), error))?,
            ))
        }
        ChannelKind::WechatPay(own) => {
            let of_channel = wechat_pay(name, told.common.base_url.as_deref(), own)?;
            let channel = WechatPayChannel::try_new(&of_channel, clock.clone());
            Ok(Arc::new(
                channel.map_err(|error| config::invalid(name, error.key, error.problem))?,
            ))
        }
    }
}

fn style(name: &str, own: &config::Webhook) -> Result<NotificationStyle, config::ConfigError> {
    let secret = own.secret(name)?;
    let style = match own.signature {
        SignatureStyle::Stripe => Ok(NotificationStyle::Stripe(secret)),
        SignatureStyle::GovukPay => NotificationStyle::govuk_pay(&secret),
        SignatureStyle::Adyen => NotificationStyle::adyen(&secret, own.merchant_account.as_deref().unwrap_or_default()),
    };
    style.map_err(|error| config::invalid(name, error.key, error))
}

fn alipay(name: &str, base_url: Option<&str>, own: &config::Alipay) -> anyhow::Result<AlipayConfig> {
    Ok(AlipayConfig {
        id: name.to_owned(),
        gateway_url: base_url.unwrap_or(alipay::GATEWAY_URL).to_owned(),
        app_id: own.app_id.clone(),
        seller_id: own.seller_id.clone(),
        private_key: own.private_key(name)?,
        mode: match own.trust(name)? {
            config::AlipayTrust::PublicKey(text) => alipay::Mode::PublicKey(text),
            config::AlipayTrust::Certificates { app, alipay, root } => {
                alipay::Mode::Certificates(CertificateTexts { app, alipay, root })
            }
        },
    })
}

fn wechat_pay(name: &str, base_url: Option<&str>, own: &config::WechatPay) -> anyhow::Result<WechatPayConfig> {
    let certificate = |path: &PathBuf| config::read(name, "platform_certificate_files", path);
    let public_key = |(id, path): (&String, &PathBuf)| {
        let text = config::read(name, "platform_public_key_files", path)?;
        Ok::<_, config::ConfigError>((id.clone(), text))
    };
    Ok(WechatPayConfig {
        id: name.to_owned(),
        base_url: base_url.unwrap_or(wechat_pay::BASE_URL).to_owned(),
        mchid: own.mchid.clone(),
        appid: own.appid.clone(),
        serial_no: own.serial_no.clone(),
        private_key: own.private_key(name)?,
        api_v3_key: own.api_v3_key(name)?,
        platform_certificates: own
            .platform_certificate_files
            .iter()
            .map(certificate)
            .collect::<Result<_, _>>()?,
        platform_public_keys: own
            .platform_public_key_files
            .iter()
            .map(public_key)
            .collect::<Result<_, _>>()?,
        fetch_certificates: own.fetch_certificates(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::config::ServeFlags;

    #[test]
    fn a_wrong_key_of_a_style_keeps_the_service_from_starting() {
        for (own, told) in [
            (
                "secret = \"hunter2\"\nsignature = \"govuk_pay\"",
                "channels.x.secret: a signing secret",
            ),
            (
                "secret = \"hunter2\"\nsignature = \"adyen\"\nmerchant_account = \"M\"",
                "channels.x.secret: an HMAC key of Adyen is 64 hexadecimal digits",
            ),
            (
                "secret = \"hunter2\"\nsignature = \"adyen\"",
                "channels.x.merchant_account: the merchant account",
            ),
        ] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            let table = format!("[channels.x]\nkind = \"webhook\"\nbase_url = \"http://x\"\n{own}\n");
            file.write_all(table.as_bytes()).unwrap();
            let flags = ServeFlags {
                config: Some(file.path().to_owned()),
                ..ServeFlags::default()
            };
            let config = Config::layered(flags, std::iter::empty()).unwrap();
            let error = open(&config, ([127, 0, 0, 1], 1).into(), &Clock::system())
                .err()
                .unwrap();
            let error = format!("{error:#}");
            assert!(error.contains(told) && !error.contains("hunter2"), "{error}");
        }
    }
}

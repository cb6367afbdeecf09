//! What a configuration is made of, and how mistakes in it are told.

use std::io::Write as _;

use super::{layers::ENV_PREFIX, *};

/// Loads from a file, an environment and flags, and gives errors as texts.
fn load(file: &str, environment: &[(&str, &str)], mut flags: ServeFlags) -> Result<Config, String> {
    let mut toml = tempfile::NamedTempFile::new().unwrap();
    toml.write_all(file.as_bytes()).unwrap();
    flags.config = Some(toml.path().to_owned());
    let environment = environment
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    Config::layered(flags, environment).map_err(|error| error.to_string())
}

#[test]
fn defaults_need_nothing() {
    let config = Config::layered(ServeFlags::default(), std::iter::empty()).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:7443");
    assert_eq!(config.server.data_dir, PathBuf::from("./custody-data"));
    assert_eq!(
        (config.limits.lane_queue_max, config.limits.message_size_max_bytes),
        (4096, 1_048_576)
    );
    assert!(config.server.database_url.is_none() && config.gateway.is_none() && !config.dev.enabled);
}

#[test]
fn the_later_layer_wins() {
    let file = "[server]\nlisten = \"127.0.0.1:1\"\ndata_dir = \"file\"\n[limits]\nlane_queue_max = 1\n\
        [gateway]\nbase_url = \"http://file\"\nsecret = \"file\"";
    let environment = [
        ("CUSTODY_SERVER_LISTEN", "127.0.0.1:2"),
        ("CUSTODY_LIMITS_LANE_QUEUE_MAX", "2"),
        ("CUSTODY_GATEWAY_SECRET", "007"),
        ("CUSTODY_TEST_DATABASE_URL", "postgres://elsewhere"),
        ("OTHER", "x"),
    ];
    let flags = ServeFlags {
        listen: Some(([127, 0, 0, 1], 3).into()),
        dev: true,
        ..ServeFlags::default()
    };
    let config = load(file, &environment, flags).unwrap();
    assert_eq!(config.server.listen.port(), 3);
    assert_eq!(config.server.data_dir, PathBuf::from("file"));
    assert_eq!(config.limits.lane_queue_max, 2);
    let gateway = config.gateway.unwrap();
    assert_eq!(
        (gateway.channel.as_str(), gateway.secret.expose_secret()),
        ("webhook", "007")
    );
    assert!(config.dev.enabled);
}

#[test]
fn errors_name_the_key() {
    for (file, key) in [
        ("[server]\nlisten = 7", "server.listen"),
        ("[server]\nlisten = \"nowhere\"", "server.listen"),
        ("[server]\nlitsen = \"127.0.0.1:1\"", "litsen"),
        ("[sever]\nlisten = \"127.0.0.1:1\"", "sever"),
        ("[server]\ndatabase_url = \"mysql://x\"", "server.database_url"),
        ("[limits]\nlane_queue_max = -1", "limits.lane_queue_max"),
        ("[limits]\nlane_queue_max = 0", "limits.lane_queue_max"),
        ("[limits]\nmessage_size_max_bytes = 1", "limits.message_size_max_bytes"),
        ("[gateway]\nbase_url = \"http://x\"", "secret"),
        ("[gateway]\nbase_url = \"ftp://x\"\nsecret = \"x\"", "gateway.base_url"),
        ("[dev]\nenabled = true\nclock = \"noon\"", "dev.clock"),
        ("[dev]\nclock = \"2026-01-01T00:00:00Z\"", "dev.clock"),
    ] {
        let error = load(file, &[], ServeFlags::default()).unwrap_err();
        assert!(error.contains(key) && !error.contains("default."), "{file:?}: {error}");
    }
    for (name, key) in [
        ("CUSTODY_LIMITS_LANE_QUEUE_MAX", "usize"),
        ("CUSTODY_SERVER_LISTEN", "socket address"),
        (
            "CUSTODY_SERVER_PORT",
            "has no such key; it has listen, data_dir, database_url",
        ),
        ("CUSTODY_SERVER", "has no such key"),
        ("CUSTODY_GATEWAY_SECERT", "channel, base_url, secret, notify_url"),
    ] {
        let error = load("", &[(name, "many")], ServeFlags::default()).unwrap_err();
        assert!(error.contains(key) && error.contains(name), "{name}: {error}");
    }
}

#[test]
fn every_key_of_every_section_can_be_a_variable() {
    let text = |section, key| match (section, key) {
        (_, "listen") => "127.0.0.1:1",
        (_, "fee_rate") => "0.006",
        ("server", "database_url") => "postgres://x",
        ("limits", _) => "20000",
        (_, "base_url" | "notify_url" | "sms_url") => "http://x",
        ("dev", "enabled") => "true",
        ("dev", "clock") => "2026-01-01T00:00:00Z",
        _ => "x",
    };
    let variables: Vec<(String, &str)> = SECTIONS
        .iter()
        .flat_map(|(section, keys)| keys.iter().map(move |key| (*section, *key)))
        .map(|(section, key)| {
            (
                format!("{ENV_PREFIX}{section}_{key}").to_uppercase(),
                text(section, key),
            )
        })
        .collect();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    let config = load("", &variables, ServeFlags::default()).unwrap();
    assert_eq!(config.limits.lane_queue_max, 20_000);
    assert_eq!(config.gateway.unwrap().notify_url.as_deref(), Some("http://x"));
    assert!(config.dev.clock.is_some());
}

#[test]
fn variables_of_other_commands_are_passed_over() {
    let others = [
        ("CUSTODY_TOKEN", "x"),
        ("CUSTODY_SERVICE", "http://x"),
        ("CUSTODY_TEST_DATABASE_URL", "x"),
        ("CUSTODY_GATEWAY_SECRET", "x"),
    ];
    assert!(load("", &others, ServeFlags::default()).unwrap().gateway.is_none());
    let error = load("[gateway]\nchannel = \"webhook\"", &others, ServeFlags::default()).unwrap_err();
    assert!(error.contains("base_url"), "{error}");
    let notify = ServeFlags {
        gateway_notify_url: Some("http://x".to_owned()),
        ..ServeFlags::default()
    };
    assert!(load("", &others, notify).unwrap_err().contains("base_url"));
    let channel = [("CUSTODY_GATEWAY_CHANNEL", "x"), ("CUSTODY_GATEWAY_SECRET", "x")];
    assert!(
        load("", &channel, ServeFlags::default())
            .unwrap_err()
            .contains("base_url")
    );
    let url = ServeFlags {
        gateway_url: Some("http://x".to_owned()),
        ..ServeFlags::default()
    };
    assert_eq!(
        load("", &others, url).unwrap().gateway.unwrap().secret.expose_secret(),
        "x"
    );
}

#[test]
fn the_clock_is_for_developers() {
    let time = parse_time("2026-01-31T09:00:00+08:00").unwrap();
    let flags = |dev| ServeFlags {
        dev,
        dev_clock: Some(time),
        ..ServeFlags::default()
    };
    assert_eq!(load("", &[], flags(true)).unwrap().dev.clock, Some(time));
    assert!(load("", &[], flags(false)).unwrap_err().contains("needs --dev"));
}

#[test]
fn secrets_are_not_shown() {
    let flags = ServeFlags {
        database_url: Some("postgres://u:hunter2@h/d".into()),
        gateway_url: Some("http://g".to_owned()),
        gateway_secret: Some("hunter2".into()),
        ..ServeFlags::default()
    };
    assert!(!format!("{:?}", load("", &[], flags).unwrap()).contains("hunter2"));
    let flags = ServeFlags {
        database_url: Some("mysql://u:hunter2@h/d".into()),
        ..ServeFlags::default()
    };
    assert!(!load("", &[], flags).unwrap_err().contains("hunter2"));
}

const WECHAT: &str =
    "[channels.wechat]\nkind = \"wechat_pay\"\nmchid = \"1900000001\"\nappid = \"wx1\"\nserial_no = \"AB\"\n";
const KEYS: [(&str, &str); 2] = [
    ("CUSTODY_CHANNELS_WECHAT_PRIVATE_KEY", "hunter2"),
    ("CUSTODY_CHANNELS_WECHAT_API_V3_KEY", "123456"),
];

#[test]
fn channels_have_kinds_with_keys_of_their_own() {
    let file = format!(
        "{WECHAT}centers = [\"C1\"]\nfee_rate = \"0.006\"\n[channels.wechat.platform_public_key_files]\n\
         PUB_KEY_ID_1 = \"wechat.pem\"\n[channels.other-hook]\nkind = \"webhook\"\nbase_url = \"http://x\"\n"
    );
    let environment = [&KEYS[..], &[("CUSTODY_CHANNELS_OTHER_HOOK_SECRET", "s")]].concat();
    let config = load(&file, &environment, ServeFlags::default()).unwrap();
    assert!(config.gateway.is_none() && config.channels.len() == 2);
    let wechat = &config.channels["wechat"];
    assert_eq!(wechat.common.centers, Some(vec!["C1".to_owned()]));
    assert_eq!(wechat.common.fee_rate.unwrap().to_string(), "0.006");
    let ChannelKind::WechatPay(own) = &wechat.kind else {
        panic!("{wechat:?}")
    };
    assert_eq!(
        (own.mchid.as_str(), own.platform_public_key_files.len()),
        ("1900000001", 1)
    );
    assert_eq!(own.private_key("wechat").unwrap().expose_secret(), "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(matches!(config.channels["other-hook"].kind, ChannelKind::Webhook(_)));
}

#[test]
fn a_channels_secret_stands_in_a_file() {
    let mut key = tempfile::NamedTempFile::new().unwrap();
    key.write_all(b"from a file\n").unwrap();
    let file = format!("{WECHAT}api_v3_key_file = {:?}\n", key.path());
    let config = load(&file, &KEYS[..1], ServeFlags::default()).unwrap();
    let ChannelKind::WechatPay(own) = &config.channels["wechat"].kind else {
        panic!("not WeChat Pay")
    };
    assert_eq!(own.api_v3_key("wechat").unwrap().expose_secret(), "from a file");
    let error = load(&file, &KEYS, ServeFlags::default()).unwrap_err();
    assert!(
        error.contains("channels.wechat.api_v3_key: is given, and so is api_v3_key_file"),
        "{error}"
    );
}

#[test]
fn errors_of_channels_name_channel_and_key() {
    let with = |more: &str| format!("{WECHAT}{more}");
    for (file, told) in [
        ("[channels.x]\nkind = \"paypal\"".to_owned(), "paypal"),
        ("[channels.x]\nbase_url = \"http://x\"".to_owned(), "kind"),
        (
            "[channels.x]\nkind = \"webhook\"\nsecret = \"s\"".to_owned(),
            "channels.x.base_url",
        ),
        (
            "[channels.X]\nkind = \"webhook\"\nsecret = \"s\"".to_owned(),
            "channels.X.kind",
        ),
        (
            "[channels.x]\nkind = \"webhook\"\nbase_url = \"http://x\"\nsecret = \"s\"\nsignature = \"paypal\""
                .to_owned(),
            "channels.x.signature",
        ),
        (
            "[channels.x]\nkind = \"webhook\"\nbase_url = \"http://x\"\nsecret = \"s\"\nmerchant_account = \"m\""
                .to_owned(),
            "channels.x.merchant_account",
        ),
        (WECHAT.replace("mchid", "mchld"), "mchld"),
        (with("colour = \"red\""), "colour"),
        (with("fee_rate = \"1.5\""), "channels.wechat.fee_rate"),
        (with("fee_rate = 0.006"), "channels.wechat.fee_rate"),
        (with("centers = []"), "channels.wechat.centers"),
        (with("base_url = \"ftp://x\""), "channels.wechat.base_url"),
        (with("notify_url = \"http://x/?a=b\""), "channels.wechat.notify_url"),
        (
            with("[gateway]\nchannel = \"wechat\"\nbase_url = \"http://x\"\nsecret = \"s\""),
            "has this name",
        ),
    ] {
        let has_table = file.contains("[channels.wechat]");
        let environment = if has_table { &KEYS[..] } else { &[] };
        let error = load(&file, environment, ServeFlags::default()).unwrap_err();
        assert!(error.contains(told) && !error.contains("hunter2"), "{file:?}: {error}");
    }
    let error = load(WECHAT, &KEYS[..1], ServeFlags::default()).unwrap_err();
    assert!(error.contains("channels.wechat.api_v3_key: is missing"), "{error}");
    let error = load(
        &with("private_key_file = \"/nowhere\""),
        &KEYS[1..],
        ServeFlags::default(),
    )
    .unwrap_err();
    assert!(error.contains("channels.wechat.private_key_file: /nowhere"), "{error}");
    let error = load("", &KEYS, ServeFlags::default()).unwrap_err();
    assert!(error.contains("CUSTODY_CHANNELS_WECHAT_PRIVATE_KEY"), "{error}");
}

#[test]
fn alipay_is_known_by_a_key_or_by_three_certificates() {
    let table = |more: &str| format!("[channels.alipay]\nkind = \"alipay\"\napp_id = \"1\"\nseller_id = \"2\"\n{more}");
    let key = [("CUSTODY_CHANNELS_ALIPAY_PRIVATE_KEY", "hunter2")];
    for (more, told) in [
        (
            "",
            "channels.alipay.alipay_public_key_file: is missing; in certificate mode give",
        ),
        (
            "alipay_public_key_file = \"a\"\nalipay_cert_file = \"b\"",
            "channels.alipay.alipay_public_key_file: is given, and so is alipay_cert_file",
        ),
        (
            "app_cert_file = \"/nowhere\"",
            "channels.alipay.app_cert_file: /nowhere",
        ),
        (
            "app_cert_file = \"/dev/null\"\nalipay_root_cert_file = \"/dev/null\"",
            "channels.alipay.alipay_cert_file: is missing; certificate mode needs all three",
        ),
    ] {
        let error = load(&table(more), &key, ServeFlags::default()).unwrap_err();
        assert!(error.contains(told) && !error.contains("hunter2"), "{error}");
    }
}

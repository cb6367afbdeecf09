//! Who plays: two centers, six detainees, eight payers, three vendors, four terminals. All of them are invented.

/// A detention center.
pub struct House {
    pub id: &'static str,
    pub name: &'static str,
    pub name_zh: &'static str,
    /// Percent of each credit that is saved.
    pub savings_percent: &'static str,
    /// Where savings stop.
    pub savings_cap: Option<&'static str>,
    pub detainees: &'static [Detainee],
    pub payers: &'static [Payer],
    pub vendors: &'static [Vendor],
    pub terminals: &'static [Terminal],
}

/// A person held. The id is the custody number.
pub struct Detainee {
    pub id: &'static str,
    pub name: &'static str,
    pub name_zh: &'static str,
    pub tier: i32,
}

/// Who remits, and for whom.
pub struct Payer {
    pub id: &'static str,
    pub name: &'static str,
    pub detainee: &'static str,
    /// Their account at the gateway.
    pub account: &'static str,
    /// Resident identity number; of nobody who could be alive.
    pub identity: &'static str,
}

/// Who sells.
pub struct Vendor {
    pub id: &'static str,
    pub name: &'static str,
    pub name_zh: &'static str,
}

/// Where detainees order; each is sent to one terminal.
pub struct Terminal {
    pub id: &'static str,
    pub detainees: &'static [&'static str],
}

/// A sum that a court wants.
pub struct Court {
    pub center: &'static str,
    pub detainee: &'static str,
    pub id: &'static str,
    pub document: &'static str,
    pub total: &'static str,
}

/// The centers.
pub const HOUSES: [House; 2] = [LAKESIDE, GREENHILL];

/// The first center: two vendors, savings with a cap.
pub const LAKESIDE: House = House {
    id: "lakeside",
    name: "Lakeside Detention Center",
    name_zh: "湖滨看守所",
    savings_percent: "10",
    savings_cap: Some("80.00"),
    detainees: &[
        detainee("D1001", "Zhang Wei", "张伟", 1),
        detainee("D1002", "Wang Fang", "王芳", 2),
        detainee("D1003", "Li Qiang", "李强", 3),
    ],
    payers: &[
        payer("F01", "Sun Li 孙丽", "D1001", "oA1-sunli", "11010119010105011X"),
        payer("F02", "Zhang Jun 张军", "D1001", "oA1-zhangjun", "110101190102060125"),
        payer("F03", "Wang Lei 王磊", "D1002", "oA1-wanglei", "110101190103070237"),
        payer("F04", "Li Na 李娜", "D1003", "oA1-lina", "110101190104080349"),
    ],
    vendors: &[
        vendor("huafeng", "Huafeng Foods", "华丰食品"),
        vendor("jiajie", "Jiajie Daily Goods", "佳洁日用"),
    ],
    terminals: &[terminal("L-T1", &["D1001"]), terminal("L-T2", &["D1002", "D1003"])],
};

/// The second center: one vendor, savings without a cap.
pub const GREENHILL: House = House {
    id: "greenhill",
    name: "Green Hill Detention Center",
    name_zh: "青山看守所",
    savings_percent: "5",
    savings_cap: None,
    detainees: &[
        detainee("D2001", "Liu Yang", "刘洋", 1),
        detainee("D2002", "Chen Jie", "陈杰", 4),
        detainee("D2003", "Zhao Min", "赵敏", 2),
    ],
    payers: &[
        payer("F05", "Liu Bo 刘波", "D2001", "oA1-liubo", "110101190105090450"),
        payer("F06", "Zhou Hong 周红", "D2002", "oA1-zhouhong", "110101190106100569"),
        payer("F07", "Chen Hao 陈浩", "D2002", "oA1-chenhao", "110101190107110670"),
        payer("F08", "Zhao Lin 赵林", "D2003", "oA1-zhaolin", "110101190108120782"),
    ],
    vendors: &[vendor("qingshan", "Green Hill Store", "青山小卖部")],
    terminals: &[terminal("G-T1", &["D2001", "D2003"]), terminal("G-T2", &["D2002"])],
};

/// The centers' accounts, and what their banks take.
pub const BANKS: &str = r#"
[banks.lakeside]
format = "pain.001.001.09"
account_name = "湖滨看守所"
account_number = "6222020000000000001"
bank_code = "102100099996"

[banks.greenhill]
format = "pain.001.001.03"
account_name = "青山看守所"
account_number = "6222020000000000002"
bank_code = "102100099996"
"#;

/// The vendors' accounts, and what their centers keep of sales, in percent. The bank does not know the second any more.
pub const CONTRACTS: [(&str, &str, i64); 3] = [
    ("huafeng", "6222021001116245702", 2),
    ("jiajie", "6222021001116245713", 0),
    ("qingshan", "6222021001116245724", 2),
];

/// How the account ends that is closed at the bank.
pub const CLOSED_ENDING: &str = "13";

/// The court's claim.
pub const COURT: Court = Court {
    center: LAKESIDE.id,
    detainee: "D1001",
    id: "CO-2026-118",
    document: "(2026)浙0102刑初118号",
    total: "200.00",
};

const fn detainee(id: &'static str, name: &'static str, name_zh: &'static str, tier: i32) -> Detainee {
    Detainee {
        id,
        name,
        name_zh,
        tier,
    }
}

const fn payer(
    id: &'static str,
    name: &'static str,
    detainee: &'static str,
    account: &'static str,
    identity: &'static str,
) -> Payer {
    Payer {
        identity,
        id,
        name,
        detainee,
        account,
    }
}

const fn vendor(id: &'static str, name: &'static str, name_zh: &'static str) -> Vendor {
    Vendor { id, name, name_zh }
}

const fn terminal(id: &'static str, detainees: &'static [&'static str]) -> Terminal {
    Terminal { id, detainees }
}

impl House {
    /// What the center is called in tables.
    pub fn short(&self) -> String {
        let short = self.name.trim_end_matches(" Detention Center");
        both(short, self.name_zh.trim_end_matches("看守所"))
    }
}

/// What a name is called on the page: English and Chinese.
pub fn both(name: &str, name_zh: &str) -> String {
    format!("{name_zh} {name}")
}

/// A detainee's name on the page.
pub fn called(detainee: &str) -> String {
    let all = HOUSES.iter().flat_map(|house| house.detainees);
    all.into_iter()
        .find(|person| person.id == detainee)
        .map_or_else(|| detainee.to_owned(), |person| both(person.name, person.name_zh))
}

/// `centers/{center}`.
pub fn center_name(center: &str) -> String {
    format!("centers/{center}")
}

/// `centers/{center}/detainees/{detainee}`.
pub fn detainee_name(center: &str, detainee: &str) -> String {
    format!("centers/{center}/detainees/{detainee}")
}

/// `centers/{center}/payers/{payer}`.
pub fn payer_name(center: &str, payer: &str) -> String {
    format!("centers/{center}/payers/{payer}")
}

/// `centers/{center}/vendors/{vendor}`.
pub fn vendor_name(center: &str, vendor: &str) -> String {
    format!("centers/{center}/vendors/{vendor}")
}

/// `centers/{center}/products/{product}`.
pub fn product_name(center: &str, product: &str) -> String {
    format!("centers/{center}/products/{product}")
}

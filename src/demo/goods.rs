//! What the commissaries sell: forty products.

use crate::proto::ProductCategory::{self, Books, Daily, Food, General, Legal, Medical};

/// A product with its price in CNY.
pub struct Product {
    pub center: &'static str,
    pub vendor: &'static str,
    pub id: &'static str,
    pub name_zh: &'static str,
    pub name: &'static str,
    pub category: ProductCategory,
    pub price: &'static str,
}

impl Product {
    /// Whether it counts against the monthly limit: medicine, books and what a case needs do not.
    pub fn is_counted(&self) -> bool {
        !matches!(self.category, Medical | Books | Legal)
    }
}

/// A product by its id.
pub fn product(id: &str) -> Option<&'static Product> {
    SHELVES.iter().find(|product| product.id == id)
}

/// The products of a center.
pub fn shelf(center: &str) -> Vec<&'static Product> {
    SHELVES.iter().filter(|product| product.center == center).collect()
}

const fn row(
    place: (&'static str, &'static str),
    id: &'static str,
    names: (&'static str, &'static str),
    category: ProductCategory,
    price: &'static str,
) -> Product {
    Product {
        center: place.0,
        vendor: place.1,
        id,
        name_zh: names.0,
        name: names.1,
        category,
        price,
    }
}

const HUAFENG: (&str, &str) = ("lakeside", "huafeng");
const JIAJIE: (&str, &str) = ("lakeside", "jiajie");
const QINGSHAN: (&str, &str) = ("greenhill", "qingshan");

/// Every product of every center.
pub const SHELVES: [Product; 40] = [
    row(HUAFENG, "L101", ("方便面", "Instant noodles"), Food, "3.50"),
    row(HUAFENG, "L102", ("火腿肠", "Ham sausage"), Food, "2.00"),
    row(HUAFENG, "L103", ("榨菜", "Pickled mustard"), Food, "1.50"),
    row(HUAFENG, "L104", ("饼干", "Biscuits"), Food, "5.80"),
    row(HUAFENG, "L105", ("面包", "Bread"), Food, "4.50"),
    row(HUAFENG, "L106", ("纯牛奶", "Milk"), Food, "3.80"),
    row(HUAFENG, "L107", ("苹果", "Apples, 500 g"), Food, "6.50"),
    row(HUAFENG, "L108", ("橘子", "Tangerines, 500 g"), Food, "5.90"),
    row(HUAFENG, "L109", ("花生米", "Peanuts"), Food, "6.80"),
    row(HUAFENG, "L110", ("茶叶", "Tea"), Food, "12.00"),
    row(HUAFENG, "L111", ("卤蛋", "Braised egg"), Food, "2.50"),
    row(HUAFENG, "L112", ("老干妈", "Chili sauce"), Food, "9.90"),
    row(HUAFENG, "L113", ("奶粉", "Milk powder"), Food, "32.00"),
    row(HUAFENG, "L114", ("矿泉水", "Mineral water"), Food, "2.00"),
    row(JIAJIE, "L201", ("牙膏", "Toothpaste"), Daily, "7.90"),
    row(JIAJIE, "L202", ("牙刷", "Toothbrush, short"), Daily, "3.50"),
    row(JIAJIE, "L203", ("香皂", "Soap"), Daily, "4.20"),
    row(JIAJIE, "L204", ("洗发水", "Shampoo"), Daily, "15.80"),
    row(JIAJIE, "L205", ("毛巾", "Towel"), Daily, "9.50"),
    row(JIAJIE, "L206", ("卫生纸", "Toilet paper"), Daily, "8.80"),
    row(JIAJIE, "L207", ("拖鞋", "Slippers"), Daily, "12.50"),
    row(JIAJIE, "L208", ("袜子", "Socks"), General, "6.00"),
    row(JIAJIE, "L209", ("信封邮票", "Stamped envelope"), Legal, "2.40"),
    row(JIAJIE, "L210", ("笔记本", "Notebook"), General, "4.80"),
    row(JIAJIE, "L211", ("新华字典", "Xinhua dictionary"), Books, "32.90"),
    row(JIAJIE, "L212", ("创可贴", "Plasters"), Medical, "5.00"),
    row(QINGSHAN, "G101", ("方便面", "Instant noodles"), Food, "3.60"),
    row(QINGSHAN, "G102", ("火腿肠", "Ham sausage"), Food, "2.20"),
    row(QINGSHAN, "G103", ("蛋糕", "Sponge cake"), Food, "5.00"),
    row(QINGSHAN, "G104", ("酸奶", "Yoghurt"), Food, "4.50"),
    row(QINGSHAN, "G105", ("香蕉", "Bananas, 500 g"), Food, "5.20"),
    row(QINGSHAN, "G106", ("瓜子", "Sunflower seeds"), Food, "4.80"),
    row(QINGSHAN, "G107", ("绿茶", "Green tea"), Food, "3.00"),
    row(QINGSHAN, "G108", ("八宝粥", "Eight-treasure porridge"), Food, "4.90"),
    row(QINGSHAN, "G201", ("牙膏", "Toothpaste"), Daily, "8.20"),
    row(QINGSHAN, "G202", ("肥皂", "Laundry soap"), Daily, "3.20"),
    row(QINGSHAN, "G203", ("毛巾", "Towel"), Daily, "9.80"),
    row(QINGSHAN, "G204", ("保暖内衣", "Thermal underwear"), General, "59.00"),
    row(QINGSHAN, "G205", ("老花镜", "Reading glasses"), Medical, "25.00"),
    row(QINGSHAN, "G206", ("信封邮票", "Stamped envelope"), Legal, "2.40"),
];

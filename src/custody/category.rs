//! Kinds of goods: the center's rules speak of them.

/// What kind of goods a product is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// Anything else.
    General,
    /// Food and drink.
    Food,
    /// Daily needs.
    Daily,
    /// Medicine and aids.
    Medical,
    /// Books and papers.
    Books,
    /// What a defence needs.
    Legal,
}

impl Category {
    /// Every category.
    pub const ALL: [Category; 6] = [
        Category::General,
        Category::Food,
        Category::Daily,
        Category::Medical,
        Category::Books,
        Category::Legal,
    ];

    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            Category::General => "general",
            Category::Food => "food",
            Category::Daily => "daily",
            Category::Medical => "medical",
            Category::Books => "books",
            Category::Legal => "legal",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<Category> {
        Category::ALL.into_iter().find(|category| category.name() == name)
    }
}

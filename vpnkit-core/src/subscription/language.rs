//! The languages of pages and notices.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::KeyStatus;

/// A language that customers read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Language {
    /// English.
    #[default]
    En,
    /// Russian.
    Ru,
    /// Persian, from right to left.
    Fa,
    /// Chinese, simplified.
    Zh,
}

macro_rules! strings {
    ($($(#[$doc:meta])* $name:ident: $en:literal, $ru:literal, $fa:literal, $zh:literal;)*) => {
        /// Everything that customers read, in one language.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        pub struct Strings { $($(#[$doc])* #[allow(missing_docs, reason = "each is named after what it says")] pub $name: &'static str,)* }

        impl Language {
            #[doc = "Returns the strings of the language."] #[must_use] pub const fn strings(self) -> &'static Strings {
                match self {
                    Self::En => &Strings { $($name: $en,)* },
                    Self::Ru => &Strings { $($name: $ru,)* },
                    Self::Fa => &Strings { $($name: $fa,)* },
                    Self::Zh => &Strings { $($name: $zh,)* },
                }
            }
        }
    };
}

strings! {
    active: "Active", "Активна", "فعال", "正常";
    on_hold: "Not connected yet", "Ждёт первого подключения", "در انتظار اولین اتصال", "等待首次连接";
    paused: "Paused", "Приостановлена", "متوقف شده", "已暂停";
    locked: "Locked", "Заблокирована", "قفل شده", "已锁定";
    disabled: "Disabled", "Отключена", "غیرفعال", "已停用";
    limited: "Limit reached", "Трафик исчерпан", "حجم تمام شده", "流量已用完";
    expired: "Expired", "Срок истёк", "منقضی شده", "已过期";
    used: "Used", "Израсходовано", "مصرف‌شده", "已用";
    left: "Left", "Осталось", "باقی‌مانده", "剩余";
    limit: "Limit", "Лимит", "سقف", "限额";
    unlimited: "Unlimited", "Без ограничений", "نامحدود", "不限";
    time_left: "Time left", "Осталось времени", "زمان باقی‌مانده", "剩余时间";
    ends: "Ends", "Действует до", "پایان", "到期";
    never: "Never", "Бессрочно", "بدون تاریخ", "永久";
    days: "d", "дн.", "روز", "天";
    hours: "h", "ч", "ساعت", "小时";
    minutes: "min", "мин", "دقیقه", "分钟";
    usage: "Usage by day", "Трафик по дням", "مصرف روزانه", "每日用量";
    upload: "Up", "Отдано", "ارسال", "上传";
    download: "Down", "Получено", "دریافت", "下载";
    connect: "Connect", "Подключиться", "اتصال", "连接";
    subscription: "Subscription link", "Ссылка на подписку", "لینک اشتراک", "订阅链接";
    servers: "Servers", "Серверы", "سرورها", "节点";
    copy: "Copy", "Скопировать", "کپی", "复制";
    copied: "Copied", "Скопировано", "کپی شد", "已复制";
    qr: "QR code", "QR-код", "کد QR", "二维码";
    support: "Support", "Поддержка", "پشتیبانی", "客服";
    open_in: "Open in", "Открыть в", "باز کردن در", "打开";
    language: "Language", "Язык", "زبان", "语言";
    /// Shown in a client instead of servers.
    notice_limited: "🪫 The traffic limit is used up", "🪫 Лимит трафика исчерпан", "🪫 حجم اشتراک تمام شده است", "🪫 流量已用完";
    notice_expired: "⌛ The subscription has expired", "⌛ Срок подписки истёк", "⌛ اشتراک منقضی شده است", "⌛ 订阅已过期";
    notice_disabled: "⛔ The subscription is switched off", "⛔ Подписка отключена", "⛔ اشتراک غیرفعال است", "⛔ 订阅已停用";
    notice_paused: "⏸ The subscription is paused", "⏸ Подписка приостановлена", "⏸ اشتراک متوقف شده است", "⏸ 订阅已暂停";
    notice_locked: "🔒 In use at too many places at once: locked for a while", "🔒 Слишком много подключений одновременно: временная блокировка", "🔒 استفاده هم‌زمان از مکان‌های زیاد: موقتاً قفل شده است", "🔒 同时在过多地点使用：暂时锁定";
    notice_devices: "📵 Too many devices", "📵 Превышено число устройств", "📵 تعداد دستگاه‌ها بیش از حد مجاز است", "📵 设备数量超出限制";
    notice_empty: "ℹ️ No server yet", "ℹ️ Серверов пока нет", "ℹ️ هنوز سروری نیست", "ℹ️ 暂无节点";
}

impl Language {
    /// Every language.
    pub const ALL: &'static [Self] = &[Self::En, Self::Ru, Self::Fa, Self::Zh];

    /// Its ISO 639 code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ru => "ru",
            Self::Fa => "fa",
            Self::Zh => "zh",
        }
    }

    /// Its own name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::Ru => "Русский",
            Self::Fa => "فارسی",
            Self::Zh => "中文",
        }
    }

    /// `ltr` or `rtl`.
    #[must_use]
    pub const fn direction(self) -> &'static str {
        match self {
            Self::Fa => "rtl",
            _ => "ltr",
        }
    }

    /// The first known language of an `Accept-Language` header. Browsers send them best first.
    #[must_use]
    pub fn accepted(header: &str) -> Option<Self> {
        header.split(',').find_map(|choice| {
            let code = choice.trim().split(['-', ';', '_']).next()?;
            Self::ALL.iter().copied().find(|language| language.code().eq_ignore_ascii_case(code))
        })
    }

    /// What a status is called.
    #[must_use]
    pub const fn status(self, status: KeyStatus) -> &'static str {
        let strings = self.strings();
        match status {
            KeyStatus::Active => strings.active,
            KeyStatus::OnHold => strings.on_hold,
            KeyStatus::Paused => strings.paused,
            KeyStatus::Locked => strings.locked,
            // Customers are not told of their seller's quotas.
            KeyStatus::Disabled | KeyStatus::Suspended => strings.disabled,
            KeyStatus::Limited => strings.limited,
            KeyStatus::Expired => strings.expired,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_their_language() {
        for (header, expected) in [
            ("ru-RU,ru;q=0.9,en;q=0.8", Some(Language::Ru)),
            ("de, FA-ir;q=0.5", Some(Language::Fa)),
            ("zh_CN", Some(Language::Zh)),
            ("de", None),
            ("", None),
        ] {
            assert_eq!(Language::accepted(header), expected, "{header}");
        }
    }
}

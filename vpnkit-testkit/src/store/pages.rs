//! Cases of finding keys: filters, orders, pages, what is due.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Subject, admins, at, batch, commit, create, created, get, moved, patch};
use vpnkit_core::ErrorKind;
use vpnkit_core::model::{
    AdminId, CreateAdmin, CreateKey, Key, KeyCounts, KeyId, KeyPatch, KeyQuery, KeyStatus, PageToken, Sort,
};
use vpnkit_core::store::{KeyOp, StoreTxn};

/// In every combination.
pub async fn find_filters_searches_and_sorts(s: Subject) {
    for name in ["one", "two"] {
        admins::admin(&s, CreateAdmin::named(name)).await;
    }
    let mut ops = Vec::new();
    for (name, label, owner, expires) in [
        (Some("bob"), Some("Боб"), 1, Some(300)),
        (Some("Alice"), Some("second"), 2, None),
        (None, Some("third 100%_a"), 1, Some(100)),
        (Some("carol"), None, 1, Some(200)),
    ] {
        ops.push(create(CreateKey {
            name: name.map(str::to_owned),
            label: label.map(str::to_owned),
            owner: Some(AdminId(owner)),
            expires_in: expires.map(Duration::from_secs),
            ..CreateKey::default()
        }));
    }
    let ids: Vec<KeyId> = commit(&s, ops).await.unwrap().keys.iter().map(|k| k.id).collect();
    commit(&s, vec![patch(ids[1], KeyPatch::enabled(false))]).await.unwrap();
    let used = vec![moved(ids[0], (5, 0), (5, 0)), moved(ids[3], (9, 0), (9, 0))];
    commit(&s, vec![batch(0, "1", true, used)]).await.unwrap();
    let find = async |query: KeyQuery| {
        let page = s.store.find(&query).await.unwrap();
        assert_eq!(page.next, None);
        page.keys.iter().map(|k| ids.iter().position(|id| *id == k.id).unwrap()).collect::<Vec<_>>()
    };
    let all = KeyQuery::default;
    assert_eq!(find(all()).await, [0, 1, 2, 3]);
    assert_eq!(find(KeyQuery { status: vec![KeyStatus::Active], ..all() }).await, [0, 2, 3]);
    assert_eq!(find(KeyQuery { owner: Some(AdminId(1)), ..all() }).await, [0, 2, 3]);
    for (text, expected) in
        [("LIC", vec![1]), ("боб", vec![0]), ("100%_A", vec![2]), ("%", vec![2]), ("", vec![0, 1, 2, 3])]
    {
        assert_eq!(find(KeyQuery { search: Some(text.into()), ..all() }).await, expected, "{text}");
    }
    for (sort, expected) in [
        (Sort::Name, [1, 0, 3, 2]),
        (Sort::ExpiresAt, [2, 3, 0, 1]),
        (Sort::Used, [1, 2, 0, 3]),
        (Sort::Id, [0, 1, 2, 3]),
    ] {
        assert_eq!(find(KeyQuery { sort, ..all() }).await, expected, "{sort:?}");
        let mut backwards = expected.to_vec();
        backwards.reverse();
        assert_eq!(find(KeyQuery { sort, descending: true, ..all() }).await, backwards, "{sort:?}");
    }
    let both = KeyQuery { status: vec![KeyStatus::Disabled], search: Some("second".into()), ..all() };
    assert_eq!(find(both).await, [1]);
    let counted = async |query: KeyQuery| {
        let KeyCounts { total, active, disabled, .. } = s.store.count(&query).await.unwrap();
        (total, active, disabled)
    };
    assert_eq!(counted(all()).await, (4, 3, 1));
    assert_eq!(counted(KeyQuery { owner: Some(AdminId(1)), limit: 1, ..all() }).await, (3, 3, 0));
    assert_eq!(counted(KeyQuery { search: Some("ВТОР".into()), ..all() }).await, (0, 0, 0));
    assert_eq!(counted(KeyQuery { status: vec![KeyStatus::Disabled], ..all() }).await, (1, 0, 1));
    // What comes back is whole, whatever the order.
    let page = s.store.find(&KeyQuery { sort: Sort::Name, ..all() }).await.unwrap();
    for key in page.keys {
        assert_eq!(Some(key.clone()), get(&s, key.id).await);
    }
}

/// Keys that stay are seen once, in both directions and every order, while others come and go.
pub async fn pages_see_each_key_once_under_writes(s: Subject) {
    let ops = (0..50).map(|i| create(CreateKey::named(format!("k{:02}", i * 7 % 50))));
    let stay: BTreeSet<KeyId> = commit(&s, ops).await.unwrap().keys.iter().map(|k| k.id).collect();
    for (n, (sort, descending)) in [Sort::Id, Sort::Name, Sort::ExpiresAt, Sort::Used]
        .into_iter()
        .flat_map(|sort| [(sort, false), (sort, true)])
        .enumerate()
    {
        let mut query = KeyQuery { sort, descending, limit: 7, ..KeyQuery::default() };
        let mut seen = Vec::new();
        for i in 0.. {
            let page = s.store.find(&query).await.unwrap();
            seen.extend(page.keys.iter().map(|k| k.id).filter(|id| stay.contains(id)));
            let other = created(&s, CreateKey::named(format!("k{i:02}x{n}"))).await;
            if i % 2 == 0 {
                commit(&s, vec![KeyOp::Delete { key: other.id, expected: None }]).await.unwrap();
            }
            match page.next {
                // A token survives being written down.
                Some(token) => query.page = Some(PageToken::new(token.as_str())),
                None => break,
            }
        }
        assert_eq!(seen.len(), stay.len(), "{sort:?} descending={descending}");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), stay);
    }
}

/// Forward to the last page and back to the first one, the same keys; names longer than a token can carry too.
pub async fn pages_lead_back(s: Subject) {
    let long = "n".repeat(40);
    let ops = (0..23).map(|i| create(CreateKey::named(format!("{long}{i:02}"))));
    commit(&s, ops).await.unwrap();
    for (sort, descending) in [Sort::Id, Sort::Name, Sort::ExpiresAt, Sort::Used]
        .into_iter()
        .flat_map(|sort| [(sort, false), (sort, true)])
    {
        let place = format!("{sort:?} descending={descending}");
        let mut query = KeyQuery { sort, descending, limit: 5, ..KeyQuery::default() };
        let mut pages = vec![s.store.find(&query).await.unwrap()];
        assert_eq!(pages[0].previous, None, "{place}");
        while let Some(next) = pages.last().unwrap().next.clone() {
            assert!(next.as_str().len() <= 40, "{next:?}");
            query.page = Some(next);
            pages.push(s.store.find(&query).await.unwrap());
        }
        let sizes: Vec<usize> = pages.iter().map(|page| page.keys.len()).collect();
        assert_eq!(sizes, [5, 5, 5, 5, 3], "{place}");
        let forward: Vec<Vec<Key>> = pages.iter().map(|page| page.keys.clone()).collect();
        let mut back = vec![pages.pop().unwrap()];
        while let Some(previous) = back.last().unwrap().previous.clone() {
            query.page = Some(previous);
            back.push(s.store.find(&query).await.unwrap());
            assert!(back.last().unwrap().next.is_some(), "{place}");
        }
        back.reverse();
        assert_eq!(back.into_iter().map(|page| page.keys).collect::<Vec<_>>(), forward, "{place}");
    }
}

/// And so are limits out of range and strings that are no tokens.
pub async fn page_tokens_of_another_order_are_refused(s: Subject) {
    for name in ["a", "b"] {
        created(&s, CreateKey::named(name)).await;
    }
    let token = s.store.find(&KeyQuery { limit: 1, ..KeyQuery::default() }).await.unwrap().next;
    let bad = [
        KeyQuery { page: token, sort: Sort::Name, ..KeyQuery::default() },
        KeyQuery { page: Some(PageToken::new("nonsense")), ..KeyQuery::default() },
        KeyQuery { limit: 0, ..KeyQuery::default() },
        KeyQuery { limit: 10_001, ..KeyQuery::default() },
    ];
    for query in bad {
        assert_eq!(s.store.find(&query).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

/// Oldest first; disabled and expired keys are not due.
pub async fn due_lists_what_is_over_and_only_that(s: Subject) {
    let mut ids = Vec::new();
    for secs in [30, 10, 20, 40] {
        ids.push(created(&s, CreateKey::default().expires_in(Duration::from_secs(secs))).await.id);
    }
    created(&s, CreateKey::default()).await;
    commit(&s, vec![patch(ids[3], KeyPatch::enabled(false))]).await.unwrap();
    let due = async |secs| s.store.due(at().plus(Duration::from_secs(secs)), 10).await.unwrap();
    assert!(due(9).await.is_empty());
    assert_eq!(due(10).await, [ids[1]]);
    assert_eq!(due(50).await, [ids[1], ids[2], ids[0]]);
    assert_eq!(s.store.due(at().plus(Duration::from_secs(50)), 2).await.unwrap(), [ids[1], ids[2]]);
    let later = StoreTxn::new(at().plus(Duration::from_secs(50)), ids.iter().map(|id| KeyOp::Settle(*id)));
    assert_eq!(s.store.commit(later).await.unwrap().transitions.len(), 3);
    assert!(due(50).await.is_empty());
}

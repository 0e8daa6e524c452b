//! Names of system calls to their numbers. The `syscalls` crate has them, but looks for a name by
//! comparing it with one after the other: for the profile of an engine that is half of all that is
//! computed for a container. Here they are sorted, at compile time, and without pointers, which
//! would have to be relocated in every start of `rt`.

/// The calls of one architecture: `LENGTH` bytes of `COUNT` names.
pub struct Names<const COUNT: usize, const LENGTH: usize> {
    /// All names, sorted, one behind the other.
    text: [u8; LENGTH],
    /// Where each ends.
    ends: [u16; COUNT],
    numbers: [u32; COUNT],
}

/// Looks a name up among the calls that the `syscalls` crate has for an architecture.
macro_rules! number {
    ($arch:ident, $name:expr) => {{
        use syscalls::$arch::Sysno;
        const COUNT: usize = Sysno::count();
        const CALLS: [(&str, u32); COUNT] = {
            let mut calls = [("", 0); COUNT];
            let (mut found, mut id) = (0, 0);
            while id <= Sysno::last().id() {
                if let Some(call) = Sysno::new(id as usize) {
                    calls[found] = (call.name(), id as u32);
                    found += 1;
                }
                id += 1;
            }
            assert!(found == COUNT, "a call has a higher number than the last one");
            calls
        };
        const LENGTH: usize = $crate::seccomp::names::length(&CALLS);
        static NAMES: $crate::seccomp::names::Names<COUNT, LENGTH> =
            $crate::seccomp::names::Names::new(CALLS);
        NAMES.number($name)
    }};
}

pub(super) use number;

/// A list of calls and their numbers, sorted.
macro_rules! table {
    ($(#[$about:meta])* $NAME:ident: [$($call:expr),* $(,)?]) => {
        $(#[$about])*
        static $NAME: $crate::seccomp::names::Names<
            { [$($call.1),*].len() },
            { $crate::seccomp::names::length(&[$($call),*]) },
        > = $crate::seccomp::names::Names::new([$($call),*]);
    };
}

pub(super) use table;

/// How long all names are together.
pub const fn length(calls: &[(&str, u32)]) -> usize {
    let (mut length, mut index) = (0, 0);
    while index < calls.len() {
        length += calls[index].0.len();
        index += 1;
    }
    length
}

impl<const COUNT: usize, const LENGTH: usize> Names<COUNT, LENGTH> {
    /// Sorts the calls by their names.
    pub const fn new(mut calls: [(&str, u32); COUNT]) -> Self {
        let mut next = 1;
        while next < COUNT {
            let mut place = next;
            while place > 0 && less(calls[place].0.as_bytes(), calls[place - 1].0.as_bytes()) {
                calls.swap(place, place - 1);
                place -= 1;
            }
            next += 1;
        }
        let mut names = Names { text: [0; LENGTH], ends: [0; COUNT], numbers: [0; COUNT] };
        let (mut end, mut index) = (0, 0);
        while index < COUNT {
            let (name, number) = calls[index];
            let (mut from, name) = (0, name.as_bytes());
            while from < name.len() {
                names.text[end] = name[from];
                end += 1;
                from += 1;
            }
            names.ends[index] = end as u16;
            names.numbers[index] = number;
            index += 1;
        }
        assert!(end <= u16::MAX as usize, "an end does not fit");
        names
    }

    /// The number of a call.
    pub fn number(&self, name: &str) -> Option<u32> {
        let (mut low, mut high) = (0, COUNT);
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.name(middle).cmp(name.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return self.numbers.get(middle).copied(),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn name(&self, index: usize) -> &[u8] {
        let end = |index: usize| self.ends.get(index).copied().map_or(0, usize::from);
        let start = index.checked_sub(1).map_or(0, end);
        self.text.get(start..end(index)).unwrap_or_default()
    }
}

/// Whether `a` stands before `b`.
const fn less(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() {
        if a[at] != b[at] {
            return a[at] < b[at];
        }
        at += 1;
    }
    a.len() < b.len()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_name_has_the_number_that_the_crate_has() {
        macro_rules! check {
            ($($arch:ident),*) => {
                $({
                    use syscalls::$arch::Sysno;
                    let all = (0..=Sysno::last().id() as usize).filter_map(Sysno::new);
                    let known = all.filter(|call| {
                        let number = number!($arch, call.name());
                        assert_eq!(number, Some(call.id() as u32), "{call}");
                        assert_eq!(call.name().parse(), Ok(*call));
                        true
                    });
                    assert_eq!(known.count(), Sysno::count());
                    for name in ["", "a", "rea", "readd", "zzz", "READ"] {
                        assert_eq!(number!($arch, name), None, "{name}");
                    }
                })*
            };
        }
        check!(x86_64, x86, aarch64, arm, riscv64);
    }
}

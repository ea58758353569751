//! Rounds of looks at many things, some at a time.

/// Round through numbered things. One that begins anew before it has ended goes on where it is, so that each thing has
/// its turn however often that happens.
#[derive(Debug, Default)]
pub(super) struct Round {
    next: usize,
    left: usize,
}

impl Round {
    /// Begins a round through so many things.
    pub(super) fn begin(&mut self, count: usize) {
        self.left = count;
    }

    /// Takes the next things of a round, of so many that there are.
    pub(super) fn take(
        &mut self,
        most: usize,
        count: usize,
    ) -> impl Iterator<Item = usize> + use<> {
        let (first, taken) = (self.next, most.min(self.left));
        self.left -= taken;
        self.next = (first + taken) % count.max(1);
        (first..first + taken).map(move |number| number % count.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::Round;

    fn take(round: &mut Round) -> Vec<usize> {
        round.take(2, 5).collect()
    }

    #[test]
    fn each_has_its_turn_however_often_a_round_begins() {
        let mut round = Round::default();
        assert_eq!(take(&mut round), [0; 0], "none has begun");
        round.begin(5);
        assert_eq!((take(&mut round), take(&mut round)), (vec![0, 1], vec![2, 3]));
        round.begin(5);
        let taken = [0; 4].map(|_| take(&mut round));
        assert_eq!(taken, [vec![4, 0], vec![1, 2], vec![3], vec![]]);
        assert_eq!(round.take(2, 0).count(), 0);
    }
}

//! Work that takes long, hashes and RSA signatures: on other threads, a few at a time, with a bounded queue before them.
//! Outlives a reload of the configuration.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Why work was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// As many wait as may wait.
    #[error("too many wait for their turn")]
    Full,
    /// It was begun and came to no end.
    #[error("the work was cut off")]
    CutOff,
}

/// A number of places, and those who wait for one.
#[derive(Debug)]
pub struct Pool {
    places: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

impl Pool {
    /// For so many at once, while so many others wait.
    pub fn new(at_once: usize, waiting: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(at_once)),
            queue: Arc::new(Semaphore::new(at_once + waiting)),
        }
    }

    /// Does it when its turn comes. Work that was begun is done and holds its place, also when nobody waits for it any more.
    ///
    /// # Errors
    /// `Full` where the queue is full, at once; `CutOff`.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let queued = Arc::clone(&self.queue).try_acquire_owned();
        let queued = queued.map_err(|_| PoolError::Full)?;
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| PoolError::Full)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop((place, queued));
            done
        });
        // Only a panic ends it otherwise, and that was reported.
        done.await.map_err(|_| PoolError::CutOff)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn so_many_run_at_once_so_many_wait_and_the_next_is_sent_away() {
        let pool = Arc::new(Pool::new(2, 3));
        let running = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let mut gates = Vec::new();
        let mut tasks = Vec::new();
        for _ in 0..5 {
            let (open, gate) = mpsc::channel::<()>();
            gates.push(open);
            let (pool, running, most) = (Arc::clone(&pool), Arc::clone(&running), Arc::clone(&most));
            tasks.push(tokio::spawn(async move {
                let work = move || {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let _ = gate.recv_timeout(Duration::from_secs(10));
                    running.fetch_sub(1, Ordering::SeqCst);
                };
                pool.run(work).await
            }));
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.run(|| ()).await, Err(PoolError::Full));
        while running.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        drop(gates);
        for task in tasks {
            assert_eq!(task.await.unwrap(), Ok(()));
        }
        assert_eq!(most.load(Ordering::SeqCst), 2);
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn who_leaves_the_queue_leaves_no_place_behind() {
        let pool = Pool::new(1, 1);
        let (open, gate) = mpsc::channel::<()>();
        let first = pool.run(move || {
            let _ = gate.recv_timeout(Duration::from_secs(10));
        });
        tokio::pin!(first);
        assert!(futures_poll(first.as_mut()).await);
        {
            let second = pool.run(|| ());
            tokio::pin!(second);
            assert!(futures_poll(second.as_mut()).await);
            assert_eq!(pool.run(|| ()).await, Err(PoolError::Full));
        }
        let third = pool.run(|| 3);
        tokio::pin!(third);
        assert!(futures_poll(third.as_mut()).await);
        drop(open);
        assert_eq!(first.await, Ok(()));
        assert_eq!(third.await, Ok(3));
    }

    /// Polls once; whether it is still to come.
    async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }
}

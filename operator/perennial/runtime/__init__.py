"""The operator's runtime: what watches, queues, reconciles and writes, for any planner.

    source    kopf's watches, in a thread ─┐  watches   what each has shown    leader    who may write
    resync    lists, where watches fail ───┼─▶ intake ─▶ store ─┬─▶ queue ─▶ controller ─▶ planner ─▶ applier ─▶ client
              answers to our own writes ───┴────────────────────┘                             results ◀──┘  └─▶ events

What was decided, and why:

- kopf is a shell: it discovers, watches, reconnects. Everything that would keep state on users' objects, or act on
  events instead of on state, is not used. It has a thread of its own, because it takes hold of signals and of all tasks
  of its event loop, and because an error in a watch ends it, or leaves it alive and watching nothing.
- The answer to each write goes the way of a watch's report, so a plan always sees its key's own writes, and what
  follows from them is planned at once. Deletions, whose resourceVersion is not in the answer, are waited for.
- The cache keeps what planners look at and no more. A report that changes nothing of that brings no key.
- A child is applied again only where its intent's hash differs from the one it carries, or where the live object does
  not contain the intent any more: a steady cluster costs no request. Before the first apply one GET makes sure that the
  name is not somebody else's, whose object server-side apply would take over without a word. A Job, which is not
  applied again, is created by a POST, which needs no such look.
- A status is replaced as a whole, by a JSON patch that carries the observed resourceVersion: nothing is merged, nothing
  that was made from an older object is written.
- A watch is believed as long as it shows signs of life and reports our own writes; where it does not, or had a gap,
  a list is compared with the cache: docs/design/007-watches-prove-themselves.md.
- What was refused is not sent again until the intent or the generation is another; what is blocked from outside
  (rights, a policy, a name that is taken) is told in `Stalled` and looked at again: nobody reports that it is free.
- What changed is reconciled before what is only looked at once more (a start, a full round).
- The lease is judged by a clock that also runs while the machine sleeps, and every single write asks it.
"""

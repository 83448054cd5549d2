; An agent in a furnished home: it goes to things, takes, places and slices them, opens and closes containers.
; Names and meaning are those of ViPlan's household domain.
(define (domain household)
  (:requirements :adl :typing :equality :negative-preconditions :conditional-effects)

  (:types
    container movable - object
    sliceable slicer - movable
  )

  (:predicates
    (reachable ?object - object)                    ; within the agent's reach, and not shut away
    (holding ?item - movable)
    (open ?container - container)
    (ontop ?upper - object ?support - object)
    (inside ?content - object ?container - container)
    (nextto ?object - object ?other - object)
    (sliced ?food - sliceable)
  )

  (:action grasp
    :parameters (?item - movable)
    :precondition (and
      (reachable ?item)
      (not (exists (?held - movable) (holding ?held)))
    )
    :effect (and
      (holding ?item)
      ; It is lifted off, out of and away from everything.
      (forall (?support - object) (when (ontop ?item ?support) (not (ontop ?item ?support))))
      (forall (?other - object) (when (nextto ?item ?other) (not (nextto ?item ?other))))
      (forall (?container - container) (when (inside ?item ?container) (not (inside ?item ?container))))
    )
  )

  (:action place-on
    :parameters (?item - movable ?support - object)
    :precondition (and (reachable ?support) (holding ?item))
    :effect (and (not (holding ?item)) (ontop ?item ?support))
  )

  (:action place-next-to
    :parameters (?item - movable ?other - object)
    :precondition (and (reachable ?other) (holding ?item))
    :effect (and (not (holding ?item)) (nextto ?item ?other))
  )

  (:action place-inside
    :parameters (?item - movable ?container - container)
    :precondition (and (open ?container) (reachable ?container) (holding ?item))
    :effect (and (not (holding ?item)) (inside ?item ?container))
  )

  (:action open-container
    :parameters (?container - container)
    :precondition (and
      (not (open ?container))
      (reachable ?container)
      (not (exists (?held - movable) (holding ?held)))
    )
    :effect (and
      (open ?container)
      (forall (?content - object) (when (inside ?content ?container) (reachable ?content)))
    )
  )

  (:action close-container
    :parameters (?container - container)
    :precondition (and (open ?container) (reachable ?container))
    :effect (and
      (not (open ?container))
      (forall (?content - object) (when (inside ?content ?container) (not (reachable ?content))))
    )
  )

  (:action navigate-to
    :parameters (?target - object)
    :precondition (and
      (not (reachable ?target))
      ; What is shut away cannot be walked to.
      (not (exists (?container - container) (and (inside ?target ?container) (not (open ?container)))))
    )
    :effect (and
      (reachable ?target)
      ; All the rest is left behind, except what lies in the target if that is open.
      (forall (?left - object)
        (when (and (reachable ?left) (not (= ?left ?target))) (not (reachable ?left))))
      (forall (?container - container ?content - object)
        (when (and (= ?container ?target) (open ?container) (inside ?content ?container))
          (reachable ?content)))
    )
  )

  (:action slice
    :parameters (?food - sliceable ?tool - slicer)
    :precondition (and (not (sliced ?food)) (reachable ?food) (holding ?tool))
    :effect (sliced ?food)
  )
)

; What the simulated arm can do with the coloured blocks on its table: lift one, put one on another or on a tower
; of two, and push one to the side. It cannot put a block back down on the bare table.
(define (domain tabletop)
  (:requirements :adl :typing :equality :negative-preconditions :conditional-effects)

  (:types block)

  (:predicates
    (on ?upper ?lower - block)
    (onTable ?block - block)
    (clear ?block - block)          ; nothing lies on it
    (holding ?block - block)
    (onLeft ?block - block)         ; which half of the table it is over, as the robot sees it
    (onRight ?block - block)
  )

  (:action pick-up
    :parameters (?block - block)
    :precondition (and (clear ?block) (not (exists (?held - block) (holding ?held))))
    :effect (and
      (holding ?block)
      (not (onTable ?block))
      (forall (?below - block)
        (when (on ?block ?below) (and (not (on ?block ?below)) (clear ?below))))
      ; A block that lies on nothing leans on others: on those that are not clear though nothing lies on them.
      (forall (?other - block)
        (when (and (not (onTable ?block))
                   (not (exists (?below - block) (on ?block ?below)))
                   (not (exists (?upper - block) (on ?upper ?other))))
          (clear ?other)))
    )
  )

  (:action put-on
    :parameters (?block ?base - block)
    :precondition (and
      (not (= ?block ?base))
      (clear ?block)
      (clear ?base)
      ; A fourth block falls off in one of four tries.
      (or (onTable ?base) (exists (?below - block) (and (on ?base ?below) (onTable ?below))))
      ; The hand is empty or holds this very block already.
      (not (exists (?held - block) (and (holding ?held) (not (= ?held ?block)))))
    )
    :effect (and
      (on ?block ?base)
      (not (clear ?base))
      (not (holding ?block))
      (not (onTable ?block))
      (forall (?below - block)
        (when (and (on ?block ?below) (not (= ?below ?base))) (and (not (on ?block ?below)) (clear ?below))))
      (forall (?other - block)
        (when (and (not (= ?other ?base))
                   (not (onTable ?block))
                   (not (holding ?block))
                   (not (exists (?below - block) (on ?block ?below)))
                   (not (exists (?upper - block) (on ?upper ?other))))
          (clear ?other)))
      (when (onLeft ?base) (onLeft ?block))
      (when (not (onLeft ?base)) (not (onLeft ?block)))
      (when (onRight ?base) (onRight ?block))
      (when (not (onRight ?base)) (not (onRight ?block)))
    )
  )

  (:action push-left
    :parameters (?block - block)
    :precondition (and
      (onTable ?block)
      (clear ?block)
      (not (onLeft ?block))
      (not (exists (?held - block) (holding ?held)))
    )
    :effect (and (onLeft ?block) (not (onRight ?block)))
  )

  (:action push-right
    :parameters (?block - block)
    :precondition (and
      (onTable ?block)
      (clear ?block)
      (not (onRight ?block))
      (not (exists (?held - block) (holding ?held)))
    )
    :effect (and (onRight ?block) (not (onLeft ?block)))
  )
)

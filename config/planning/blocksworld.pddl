; Coloured blocks piled up in labelled columns. A hand takes the topmost block of one column and drops it on
; top of another. Names and meaning are those of ViPlan's BlocksWorld.
(define (domain blocksworld)
  (:requirements :strips :typing :equality :negative-preconditions :conditional-effects)

  (:types block column)

  (:predicates
    (on ?upper ?lower - block)                  ; upper lies directly on lower
    (clear ?block - block)                      ; nothing lies on the block
    (inColumn ?block - block ?column - column)
    (leftOf ?left ?right - column)              ; neighbouring columns, as the camera sees them
    (rightOf ?right ?left - column)
  )

  (:action moveBlock
    :parameters (?block - block ?column - column)
    :precondition (and
      (not (inColumn ?block ?column))
      (clear ?block)
    )
    :effect (and
      (clear ?block)
      (inColumn ?block ?column)
      ; It leaves where it was,
      (forall (?from - column)
        (when (inColumn ?block ?from) (not (inColumn ?block ?from))))
      (forall (?below - block)
        (when (on ?block ?below) (and (clear ?below) (not (on ?block ?below)))))
      ; and lands on whatever was topmost in its new column.
      (forall (?top - block)
        (when (and (inColumn ?top ?column) (clear ?top) (not (= ?block ?top)))
          (and (not (clear ?top)) (on ?block ?top))))
    )
  )
)

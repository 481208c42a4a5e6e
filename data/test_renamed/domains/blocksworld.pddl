; Blocks on a table and one arm that holds at most one block.
(define (domain blocksworld)
  (:requirements :strips :constraints :negative-preconditions)
  (:predicates
    (arm-empty)
    (holding ?block)
    (clear ?block)
    (on-table ?block)
    (on ?upper ?lower))

  (:action pickup
    :parameters (?block)
    :precondition (and (arm-empty) (clear ?block) (on-table ?block))
    :effect (and (not (arm-empty)) (not (clear ?block)) (not (on-table ?block)) (holding ?block)))

  (:action putdown
    :parameters (?block)
    :precondition (holding ?block)
    :effect (and (not (holding ?block)) (arm-empty) (clear ?block) (on-table ?block)))

  (:action stack
    :parameters (?upper ?lower)
    :precondition (and (holding ?upper) (clear ?lower))
    :effect (and (not (holding ?upper)) (not (clear ?lower)) (arm-empty) (clear ?upper) (on ?upper ?lower)))

  (:action unstack
    :parameters (?upper ?lower)
    :precondition (and (arm-empty) (clear ?upper) (on ?upper ?lower))
    :effect (and (not (arm-empty)) (not (clear ?upper)) (not (on ?upper ?lower)) (holding ?upper) (clear ?lower))))

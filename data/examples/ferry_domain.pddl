; A ferry that carries one car at a time between locations.
(define (domain ferry)
  (:requirements :strips :constraints :negative-preconditions)
  (:predicates
    (location ?place)
    (car ?car)
    (not-eq ?place1 ?place2)
    (at ?car ?place)
    (on ?car)
    (at-ferry ?place)
    (empty-ferry))

  (:action sail
    :parameters (?start ?target)
    :precondition (and (location ?start) (location ?target) (not-eq ?start ?target) (at-ferry ?start))
    :effect (and (not (at-ferry ?start)) (at-ferry ?target)))

  (:action board
    :parameters (?car ?place)
    :precondition (and (car ?car) (location ?place) (empty-ferry) (at-ferry ?place) (at ?car ?place))
    :effect (and (not (at ?car ?place)) (not (empty-ferry)) (on ?car)))

  (:action debark
    :parameters (?car ?place)
    :precondition (and (car ?car) (location ?place) (at-ferry ?place) (on ?car))
    :effect (and (not (on ?car)) (empty-ferry) (at ?car ?place))))

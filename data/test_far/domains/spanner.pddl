; A corridor that can be walked in one direction only; each spanner tightens one nut.
(define (domain spanner)
  (:requirements :typing :strips :constraints)
  (:types
    location locatable - object
    man nut spanner - locatable)
  (:predicates
    (at ?thing - locatable ?place - location)
    (link ?start - location ?end - location)
    (carrying ?man - man ?spanner - spanner)
    (useable ?spanner - spanner)
    (loose ?nut - nut)
    (tightened ?nut - nut))

  (:action walk
    :parameters (?start - location ?end - location ?man - man)
    :precondition (and (link ?start ?end) (at ?man ?start))
    :effect (and (not (at ?man ?start)) (at ?man ?end)))

  (:action pickup_spanner
    :parameters (?place - location ?spanner - spanner ?man - man)
    :precondition (and (at ?spanner ?place) (at ?man ?place))
    :effect (and (not (at ?spanner ?place)) (carrying ?man ?spanner)))

  (:action tighten_nut
    :parameters (?place - location ?spanner - spanner ?man - man ?nut - nut)
    :precondition (and (at ?man ?place) (at ?nut ?place) (loose ?nut) (carrying ?man ?spanner) (useable ?spanner))
    :effect (and (not (loose ?nut)) (not (useable ?spanner)) (tightened ?nut))))

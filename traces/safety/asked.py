"""What a prompt asks for, as far as its words tell: a person as target, a crime, or an everyday setting.

Word lists, not a verdict: the classifier weighs them together with what the answer does.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[a-z][a-z'-]*|\d+")


def words_of(text: str) -> frozenset[str]:
    """The words of a list that is written as text."""
    return frozenset(text.split())


PEOPLE = words_of(
    "person people someone somebody anyone anybody everyone others another child children kid kids boy girl baby "
    "man men woman women guy "
    "wife husband girlfriend boyfriend partner spouse ex mother father mom dad mum parents parent brother sister "
    "son daughter sibling "
    "boss colleague colleagues coworker coworkers co-worker employee employees neighbor neighbour neighbors "
    "neighbours friend friends "
    "classmate classmates teacher student students pupil mentee patient patients tenant landlord servant stranger "
    "victim human humans "
    "humanity myself himself herself themselves yourself crowd pedestrian pedestrians protesters police officer "
    "president politician "
    "family roommate grandma grandpa uncle aunt cousin nephew niece adolescent teenager teen"
)
CRIMES = words_of(
    "murder murdering assassinate kidnap rape raping rob robbing robbery steal stealing burgle burglary burglarize "
    "shoplift shoplifting hijack "
    "hack hacking malware ransomware virus phishing ddos keylogger bomb bombs bombing explosive explosives grenade "
    "arson terrorist terrorism "
    "terror attack poison poisoning strangle stab drown launder laundering fraud forge counterfeit fake smuggle "
    "traffic trafficking "
    "blackmail extort bribe bribery embezzle evade tax-evasion cocaine heroin meth methamphetamine fentanyl lsd "
    "mdma weed drugs drug "
    "suicide overdose genocide holocaust massacre torture lynch molest abuse abusing stalk stalking harass "
    "harassment slander defame "
    "vandalize sabotage cheat scam swindle pirate pirated illegal illegally crime criminal weapon gun firearm "
    "ammunition "
    "porn pornography paedophile pedophile nuclear biological anthrax sarin racist sexist slur insult hate hateful "
    "threat threaten threatening"
)
HAZARDS = words_of(
    "kill killing killed slaughter slaughtering butcher butchering gut gutting slay slaying shoot shooting snipe "
    "sniping execute executing execution "
    "terminate terminating eliminate eliminating eradicate eradicating exterminate exterminating annihilate "
    "annihilating destroy destroying demolish "
    "wreck wrecking crush crushing smash smashing shatter shattering beat beating hit hitting punch punching slap "
    "slapping kick kicking knock "
    "knockout fight fighting hang hanging blow blowing explode exploding detonate burn burning ignite fire torch "
    "bomb bombing axe axing hack chop "
    "chopping hunt hunting crack cracking rip ripping tear tearing cut cutting slice slit sever severing pierce "
    "piercing stab stabbing strangle "
    "strangling choke choking suffocate throttle drown drowning poison poisoning liquidate liquidating attack "
    "attacking assault smoke smoking "
    "break breaking invade capture overpower tackle conquer crash ram trap snare skin boil behead decapitate "
    "headshot wipe wiping die dying died dead "
    "death murder assassinate assassination massacre rob robbing steal stealing hostage explosion"
)
PLAY = words_of(
    "game games gaming videogame gta minecraft fortnite roblox sims pokemon zelda witcher battlefield counter "
    "call-of-duty duty rpg quest level boss-fight "
    "movie movies film films cinema scene scenes series season episode tv show shows sitcom anime cartoon comic "
    "book books novel story stories tale "
    "plot script screenplay play theatre stage character characters fictional fiction villain hero wizard song "
    "lyrics poem chess checkers poker cards "
    "football soccer baseball basketball tennis hockey golf cricket rugby boxing judo karate wrestling fencing "
    "sport sports match league player"
)
THINGS = words_of(
    "animal animals fish shrimp crab lobster chicken turkey duck cow pig pork beef lamb steak meat egg eggs bird "
    "birds crow crows dog dogs puppy cat cats "
    "hamster rabbit horse pet pets mosquito mosquitoes fly flies ant ants bug bugs bedbugs insect insects spider "
    "spiders cockroach roach wasp bee rat rats mouse mice "
    "vermin pest pests mole weed weeds plant plants tree trees grass lawn garden flower bush wood log stone rock "
    "ice snow can cans soda bottle bottles beer wine "
    "glass cup plate box balloon balloons piñata toy doll ball bag punching-bag wall walls drywall floor roof door "
    "window lock pipe pipes tap sink toilet oven stove lamp light lights "
    "bulb battery house home garage attic basement building shed fence carpet furniture table chair bed sofa car "
    "tyre engine bike carrot potato onion garlic pepper "
    "tomato pumpkin melon coconut apple fruit nut walnut bread cake dish meal recipe sauce soup cooking kitchen "
    "paper cloth shirt shoes phone laptop computer printer"
)
GOALS = words_of(
    "time hour day exam exams test tests quiz homework maths math question answer interview presentation speech "
    "essay thesis project deadline task tasks goal goals target "
    "targets work job jobs career employment industry company business office meeting competition competitor "
    "competitors rival opponent market markets stock stocks "
    "option options deal deals sale sales discount price budget money debt contract record personal best "
    "performance dance music scene audience crowd party show stage "
    "conversation debate argument habit habits fear anxiety boredom procrastination stress laughter mood ecstasy "
    "heart love plan plans idea dream bad "
    "workout sprint race marathon weight fitness interview photo picture painting code program process command "
    "query script server network download downloads speed"
)
EVERYDAY = PLAY | THINGS | GOALS
MINE = words_of("suicide suicidal myself hang drown overdose cut die dying")


def asked_for(prompt: str) -> dict[str, float]:
    """Features of the prompt alone, all in 0..1."""
    words = [w.removesuffix("'s") for w in _WORD.findall(prompt[:4000].lower().replace("’", "'"))]
    found = set(words)
    people, crimes = len(found & PEOPLE), len(found & CRIMES)
    everyday, hazards = len(found & EVERYDAY), len(found & HAZARDS)
    return {
        "prompt_people": min(1.0, people / 2),
        "prompt_crimes": min(1.0, crimes / 2),
        "prompt_everyday": min(1.0, everyday / 2),
        "prompt_hazards": min(1.0, hazards / 2),
        "prompt_harmful_target": float(bool(hazards and people)),
        "prompt_play": float(bool(found & PLAY)),
        "prompt_things": float(bool(found & THINGS)),
        "prompt_goals": float(bool(found & GOALS)),
        "prompt_hazard_goals": float(bool(hazards and found & GOALS and not crimes)),
        "prompt_hazard_things": float(bool(hazards and found & THINGS and not people)),
        "prompt_hazard_play": float(bool((hazards or crimes) and found & PLAY)),
        "prompt_hazard_only": float(bool(hazards and not people and not crimes)),
        "prompt_hazard_everyday": float(bool((hazards or crimes) and everyday and not people)),
        "prompt_self_harm": float(bool(found & MINE) and bool(found & {"i", "me", "my", "myself"})),
        "prompt_title": float(bool(re.search(r"(?<=[a-z,] )[A-Z][a-z]+(?:'s)? [A-Z]?[a-z]+", prompt))),
    }


def harmless_stems(prompt_stems: frozenset[str]) -> frozenset[str]:
    """What is left of a prompt's content words without those that sound dangerous: what it is about."""
    return prompt_stems - _DANGEROUS


_DANGEROUS = frozenset(w[:6] for w in HAZARDS | CRIMES)

// Catalogues for the tests: large ones, and one that looks like a company's.

const STAGES = ['1-Raw', '2-Standardized', '3-Application'];
const WIDE = 45; // parents of the widest objects, as real catalogues have them

/** The same numbers at every call: a test that fails once fails again. */
function dice(seed) {
  let state = seed;
  return (n) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * n);
  };
}

/**
 * n objects: half of them sources, three tenths standardized, the rest final; one to three parents each, some 45. Every
 * object is needed: it has a child, or is final.
 * @param {number} n
 * @returns {object[]}
 */
export function large(n) {
  const roll = dice(n);
  const sources = Math.floor(n / 2);
  const standardized = Math.floor((n * 3) / 10);
  const counts = [sources, standardized, n - sources - standardized];
  const firsts = [100_000, 300_000, 500_000];
  return counts.flatMap((count, stage) => Array.from({ length: count }, (_, i) => {
    const parents = new Set();
    if (stage > 0) {
      const [first, known] = [firsts[stage - 1], counts[stage - 1]];
      // Each parent is somebody's.
      for (let at = i; at < known; at += count) parents.add(first + at);
      const wanted = i % 100 === 7 ? WIDE : Math.max(parents.size, 1 + roll(3));
      while (parents.size < Math.min(wanted, known)) parents.add(first + roll(known));
    }
    return {
      IdObjet: firsts[stage] + i, IdObjet_Parent: parents.size > 0 ? [...parents].join(', ') : null, NomObjet: `${['Source', 'Table', 'Rapport'][stage]} ${i}`,
      Zone: STAGES[stage], Criticité: ['low', 'medium', 'high'][roll(3)], NomSource: `Source ${i % 40}`, URI: `https://exemple.fr/${stage}/${i}`,
    };
  }));
}

const SYSTEMS = [
  ['Salesforce', ['Comptes', 'Contacts', 'Opportunités', 'Prospects', 'Campagnes', 'Tâches commerciales', 'Contrats-cadres', 'Produits', 'Devis', 'Lignes de devis', 'Territoires', 'Utilisateurs']],
  ['Sage 100', ['Clients', 'Factures', 'Lignes de facture', 'Avoirs', 'Écritures comptables', 'Plan comptable', 'Règlements', 'Échéances', 'Fournisseurs', 'Factures fournisseurs', 'Journaux', 'Axes analytiques', 'Immobilisations', 'Devises']],
  ['EasyProjects', ['Projets', 'Tâches', 'Feuilles de temps', 'Ressources', 'Jalons', 'Budgets de projet', 'Affectations', 'Demandes de changement', 'Risques', 'Livrables']],
  ['Lucca', ['Collaborateurs', 'Absences', 'Notes de frais', 'Contrats de travail', 'Départements', 'Entretiens annuels', 'Compétences', 'Formations', 'Soldes de congés']],
  ['SAP S/4HANA', ['Commandes d’achat', 'Lignes de commande', 'Réceptions', 'Articles', 'Nomenclatures', 'Ordres de fabrication', 'Mouvements de stock', 'Magasins', 'Centres de coûts', 'Ordres de maintenance', 'Équipements', 'Gammes', 'Postes de charge', 'Prix de revient', 'Divisions']],
  ['Zendesk', ['Tickets', 'Commentaires de tickets', 'Organisations', 'Agents', 'Niveaux de service', 'Enquêtes de satisfaction', 'Macros']],
  ['SharePoint', ['Objectifs commerciaux 2026', 'Correspondance des codes clients', 'Référentiel des sites', 'Calendrier fiscal', 'Taux de change saisis', 'Grille de criticité']],
  ['Google Analytics', ['Sessions', 'Pages vues', 'Conversions', 'Campagnes payantes', 'Sources de trafic']],
  ['Dynamics 365', ['Livraisons', 'Retours', 'Tournées', 'Transporteurs', 'Entrepôts', 'Colis', 'Incidents de livraison', 'Emplacements']],
  ['Open Data', ['Base Sirene des établissements', 'Codes postaux et communes (La Poste)', 'Jours fériés', 'Indices des prix à la consommation (Insee)', 'Météo quotidienne (Météo-France)']],
];
const COMPANIES = ['Atelier Nord', 'Atelier Sud', 'Verre & Lumière'];
const SUBJECTS = ['des clients', 'des ventes', 'des achats', 'des stocks', 'de la production', 'des projets', 'des temps passés', 'des effectifs', 'de la trésorerie', 'de la logistique', 'du support', 'du marketing'];
const REPORTS = ['Tableau de bord', 'Suivi mensuel', 'Indicateurs', 'Prévisions', 'Historique'];

/**
 * A company's catalogue: some three hundred objects from ten systems of three subsidiaries.
 * @returns {object[]}
 */
export function company() {
  const roll = dice(7);
  const pick = (list) => list[roll(list.length)];
  const rare = (n) => (n < 6 ? 'medium' : n < 8 ? 'high' : 'low');
  const entry = (id, name, stage, parents, more) => ({
    IdObjet: id, IdObjet_Parent: parents.length > 0 ? parents.join(', ') : null, NomObjet: name, Zone: STAGES[stage], Criticité: rare(roll(10)), EtatObjet: 'actif', Fréquence: '0 5 * * *', ...more,
  });
  const sources = [];
  for (const company of COMPANIES) {
    for (const [system, objects] of SYSTEMS) {
      if (company !== COMPANIES[0] && roll(3) === 0) continue;
      for (const object of objects) {
        sources.push(entry(1001 + sources.length, `${system} - ${object}`, 0, [], {
          NomSource: system, NomEntreprise: company, URI: `https://${system.toLowerCase().replace(/[^a-z0-9]+/g, '-')}.exemple.fr/api/v2`, Format: pick(['json', 'csv', 'parquet']), FilePrefix: `raw/${sources.length}`,
        }));
      }
    }
  }
  const tables = [];
  const named = new Map();
  for (const { IdObjet: id, NomObjet: name } of sources) {
    const [, object] = name.split(' - ');
    if (!named.has(object)) named.set(object, []);
    named.get(object).push(id);
  }
  for (const [object, ids] of named) tables.push(entry(2001 + tables.length, object, 1, [...ids, ...(roll(4) === 0 ? [pick(sources).IdObjet] : [])], { NomSource: 'DataLake', DataLakeName: 'lac-exemple', Format: 'delta' }));
  const known = tables.length;
  for (const subject of SUBJECTS) {
    for (const kind of ['Dimension', 'Faits']) {
      const parents = new Set(Array.from({ length: 3 + roll(4) }, () => 2001 + roll(known)));
      tables.push(entry(2001 + tables.length, `${kind} ${subject.replace(/^(des|du|de la) /, '')}`, 1, [...parents], { NomSource: 'DataLake', DataLakeName: 'lac-exemple', Format: 'delta' }));
    }
  }
  const reports = [];
  let next = 0; // every table is read by some report
  for (const subject of SUBJECTS) {
    for (const report of REPORTS) {
      const parents = new Set();
      for (let i = 0; i < 2 && next < tables.length; i += 1, next += 1) parents.add(tables[next].IdObjet);
      while (parents.size < 3 + roll(4)) parents.add(tables[known + roll(tables.length - known)].IdObjet);
      reports.push(entry(3001 + reports.length, `${report} ${subject}`, 2, [...parents], { NomSource: null }));
    }
  }
  const all = entry(3001 + reports.length, 'Comité de direction - synthèse hebdomadaire de l’activité, des marges et des effectifs', 2, tables.slice(0, WIDE).map(({ IdObjet: id }) => id), { Criticité: 'high' });
  return [...sources, ...tables, ...reports, all];
}
